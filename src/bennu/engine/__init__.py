"""Engines: what runs containers. The contract stands in ``base``; ``embedded`` keeps it on one host."""
