"""The store: blobs, snapshots and images in files, everything relational in one SQLite file.

The contracts stand in ``base``; ``blobs``, ``snapshots``, ``differ`` and ``images`` keep them. Nothing here mounts: a
snapshotter describes mounts and its callers make them.
"""
