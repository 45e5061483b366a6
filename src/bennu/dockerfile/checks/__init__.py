"""The build checks of the Dockerfile reference, by their names: what is legal and yet likely a mistake. Pure.

``run.check`` is the way in; ``rules`` lists the 22 names; ``options`` reads ``check=skip=...``. The checks themselves
are in ``writing`` (how a file is spelled), ``origins`` (FROM) and ``settings`` (what an instruction does to its stage,
with the variables in force, which ``stages`` keeps). When each one speaks is BuildKit's; the words are our own.
"""
