"""The Dockerfile language, pure: from bytes to typed instructions, and the rules that go with them.

``parser.parse`` is the way in; ``instructions`` has the shapes it returns; ``fields.expand`` puts variables into an
instruction; ``ignore`` and ``match`` decide which files of a context an instruction sees. What an instruction *does*
is not known here: that is ``bennu.build.lowering``.
"""
