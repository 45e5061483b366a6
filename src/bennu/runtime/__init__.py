"""The runtime: an image and options become a process in namespaces of its own, which can be found again.

``spec`` (pure) writes the OCI runtime specification; ``oci_runtime`` drives crun or runc; ``conmon`` holds a
container's stdio and exit status; ``containers`` owns their life; ``oneshot`` runs a process that nobody needs to find
again. ``networks``, ``volumes`` and ``logs`` each own what their name says.
"""
