"""The embedded engine: sets of containers on this host, behind a switch of their own. No daemon.

``engine`` dispatches actions to ``replicas`` (containers of a set), ``readiness`` (waiting until they can serve),
``service`` (the switch) and ``tending`` (what the agent calls); ``records`` is what it remembers, ``observation``
what it sees.
"""
