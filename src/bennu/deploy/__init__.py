"""The life of a fleet: releases, plans, rollouts, history, and the agent that keeps the clock.

The road: ``release`` (what should run) -> ``plan`` (what has to change) -> ``rollout`` (in which order, and what
happens when something fails) -> ``apply`` (does it). No module here knows a particular engine.
"""
