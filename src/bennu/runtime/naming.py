"""Names for containers that were given none: a quality and a bird, as ``patient_heron``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

_QUALITIES: Final = (
    "agile", "amber", "bold", "brave", "bright", "calm", "clever", "crimson", "daring", "dusky", "eager", "early",
    "faithful", "fiery", "gentle", "gilded", "golden", "graceful", "hardy", "humble", "keen", "kind", "lively",
    "lucid", "mellow", "merry", "modest", "nimble", "noble", "patient", "proud", "quick", "quiet", "radiant", "rapid",
    "serene", "sharp", "silent", "silver", "sober", "steady", "sunny", "swift", "tender", "vivid", "wakeful", "wary",
    "wise",
)  # fmt: skip
_BIRDS: Final = (
    "albatross", "avocet", "bittern", "bunting", "buzzard", "chough", "condor", "cormorant", "crane", "curlew",
    "dipper", "dotterel", "dunlin", "egret", "eider", "falcon", "finch", "fulmar", "gannet", "godwit", "goshawk",
    "grebe", "harrier", "heron", "hoopoe", "ibis", "jackdaw", "jay", "kestrel", "kingfisher", "kite", "lapwing",
    "linnet", "magpie", "martin", "merlin", "nightjar", "oriole", "osprey", "owl", "petrel", "pipit", "plover",
    "puffin", "quail", "raven", "redstart", "robin", "shrike", "siskin", "skua", "snipe", "starling", "stork",
    "swallow", "swift", "teal", "tern", "thrush", "wagtail", "warbler", "wren",
)  # fmt: skip


def random_name() -> str:
    """A name; not a secret, and not sure to be free."""
    return f"{_any(_QUALITIES)}_{_any(_BIRDS)}"


def numbered_name() -> str:
    """A name with a number, for when the plain ones keep being taken."""
    return f"{random_name()}{int.from_bytes(os.urandom(2), 'big')}"


def _any(words: Sequence[str]) -> str:
    return words[int.from_bytes(os.urandom(2), "big") % len(words)]
