"""bennu: immutable infrastructure with containers.

The package is laid out as floors; imports point down only (``ARCHITECTURE.md``). Nothing is imported here, so that
``bennu --help`` starts quickly.
"""

__version__ = "0.1.0"
