"""The embedded engine: sets of containers on this host, behind a switch of their own. No daemon.

``engine`` dispatches actions to ``replicas`` (the containers of sets), ``readiness`` (waiting until they can serve) and
``traffic`` (the switch); ``tending`` is what the agent calls. ``records`` is what it remembers, ``observation`` what it
sees. Pure: ``options``, ``routing``, ``health``, ``restarts``.
"""
