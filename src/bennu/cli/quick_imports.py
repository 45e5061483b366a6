"""What an import need not load: ``msgspec`` looks for ``typing_extensions``, and does without it where there is none.

Where some other package has brought it along, it loads ``inspect``, ``ast`` and more: 10 ms of every verb's start,
for functions that ``typing`` has had since Python 3.11.
"""

from __future__ import annotations

import sys
from typing import Final

UNWANTED: Final = "typing_extensions"
BY: Final = "msgspec"


class _Skipped:
    """A finder that says to ``msgspec``, while it is being imported, that there is no ``typing_extensions``."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:  # noqa: ARG004
        """None: the next finder is asked. ``ModuleNotFoundError`` for what is not to be loaded now."""
        if name == UNWANTED and _is_being_imported(BY):
            raise ModuleNotFoundError(f"{name} is passed over", name=name)


def _is_being_imported(name: str) -> bool:
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def install() -> None:
    """From now on. Nothing but ``msgspec``'s own import is changed by it."""
    sys.meta_path.insert(0, _Skipped)
