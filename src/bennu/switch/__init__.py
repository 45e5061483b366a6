"""The switch: who has the traffic of a project's services, and how it moves from one set to another.

HAProxy carries TCP and HTTP, nftables carries UDP; this package only orders them. It knows addresses and ports, and
nothing of containers, so that every engine can use it. Start at ``switch`` (``Switch``); ``model`` has the values and
their transitions, ``config`` and ``datagrams`` render them (pure), ``running`` compares what runs with what should,
``haproxy`` owns the processes, ``control`` speaks to them, ``drain`` waits.
"""
