"""What an engine finds when it looks closely: facts, each with what should be and what is. Pure.

An *observation* says what runs; a *survey* says what it is like, inside and around. An engine knows what a set means
on its platform, so it gives both sides of every fact, by kinds that ``deploy.drift`` knows; it judges nothing, and
leaves out what a service may do by itself. ``want`` and ``have`` map names (a variable, a mount's target, a path) to
texts; what is on one side only is missing or unexpected.
"""

from __future__ import annotations

from bennu.compose.struct import Value
from bennu.engine.sets import SetId


class Facts(Value, frozen=True, kw_only=True, omit_defaults=True):
    """Facts of one kind about one thing.

    ``subject`` is what people call it: ``web.2``, a service, a volume; empty where there is only one (the switch, the
    host). ``since``: when a fact became what it is, in Unix seconds, by name, where the host can tell. ``peers``: only
    what not all of the replicas of this set have counts, since what all have is the service's own doing; without
    ``counts_alone`` nothing counts where there is one replica only. ``held``: of a
    held replica, whose drift is meant.
    """

    kind: str
    subject: str = ""
    want: dict[str, str] = {}
    have: dict[str, str] = {}
    since: dict[str, float] = {}
    peers: str | None = None
    counts_alone: bool = True
    held: bool = False


class Survey(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A project, looked at closely. ``taken`` in Unix seconds; ``notes``: what could not be looked at, and why.

    ``host`` has what the host is like, by kind: it is compared with what was recorded, so there is no want. ``created``
    says when each replica of an active set was made, ``tags`` what the names of the images mean.
    """

    project: str
    taken: float
    facts: tuple[Facts, ...] = ()
    active: dict[str, SetId] = {}
    host: dict[str, dict[str, str]] = {}
    tags: dict[str, str] = {}
    created: dict[str, float] = {}
    notes: tuple[str, ...] = ()
