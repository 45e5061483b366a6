"""The shapes of the OCI image specification, and Docker's beside them. Pure: bytes in, frozen values out, and back.

One noun a module: ``media``, ``descriptor``, ``manifest``, ``image_config``, ``platform``, ``reference``; ``document``
is the one way from JSON to a value. Nothing here reads a file or knows where blobs are kept.
"""
