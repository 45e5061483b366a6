"""The host: the only package that runs processes, mounts, locks, writes files atomically and talks to the kernel.

One noun a module: ``process``, ``files``, ``mounts``, ``namespaces``, ``locks``, ``cgroups``; ``syscalls`` is the
ctypes floor under them.
"""
