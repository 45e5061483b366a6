"""The fleet file: YAML with places, interpolation, merging, and the typed model that everything else reads.

Pure, but for ``load``, the package's edge, which finds and reads files. Start with ``model``.
"""
