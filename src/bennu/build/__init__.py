"""Images made here: from a Dockerfile, step by step, or from a distribution's own packages.

``bootstrap`` makes base images. What a Dockerfile becomes is decided in pure modules before anything runs.
"""
