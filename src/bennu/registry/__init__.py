"""Registries: images fetched from them and sent to them, by the OCI distribution specification, version 1.1.

``hosts`` says where a registry is and whom it trusts, ``credentials`` who we are there, ``transport`` makes one request
with all that may go wrong, ``repository`` speaks the specification's words; ``pull``, ``push`` and ``copying`` are what
people do with them.
"""
