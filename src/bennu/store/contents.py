"""The contents of configs and secrets, by version, so that a release that comes back has them as they were.

A version is a digest: of the content for a config; for a secret of the content under a key of this root, so that nobody
who sees a plan or a history can try contents until one fits. Files are readable by their owner alone, in a directory
that nobody else may enter; they appear whole and durable. Nothing here is ever logged.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from bennu.config import Settings
from bennu.digest import Digest, digest_of, encoded, parse_digest
from bennu.errors import Corrupt, Invalid, NotFound
from bennu.host import files

KEY_BYTES: Final = 32
KEY_NAME: Final = "key"
LARGEST_BYTES: Final = 1 << 20
"""A config or secret is no larger; what is, belongs into the image or a volume."""


class Contents:
    """The contents of one root."""

    def __init__(self, settings: Settings) -> None:
        self._directory = settings.root / "contents"

    def put(self, data: bytes, *, is_secret: bool) -> Digest:
        """Keep a content; its version. Keeping it again is no error."""
        version = self._secret_version(data) if is_secret else digest_of(data)
        path = self._path(version)
        if not path.exists():
            self._make_directory()
            files.write_atomic(path, data, mode=0o600)
        return version

    def read(self, version: Digest) -> bytes:
        """A content. ``NotFound``; ``Corrupt`` where it is not what it was."""
        try:
            data = self._path(version).read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"content {version} is not in the store", "`bennu apply` keeps it again") from error
        if version not in {digest_of(data), self._secret_version(data)}:
            raise Corrupt(f"content {version} is damaged", "`bennu apply` from the file it came from keeps it again")
        return data

    def sweep(self, keep: Collection[Digest], *, unused_since: float) -> int:
        """Remove what is not in ``keep`` and was kept before a moment (Unix seconds); how much went."""
        removed = 0
        kept = {encoded(version) for version in keep} | {KEY_NAME}
        for path in self._directory.iterdir() if self._directory.is_dir() else ():
            with suppress(FileNotFoundError):
                if path.name not in kept and path.stat().st_mtime < unused_since:
                    path.unlink()
                    removed += 1
        return removed

    def _path(self, version: Digest) -> Path:
        return self._directory / encoded(parse_digest(version))

    def _secret_version(self, data: bytes) -> Digest:
        import hashlib
        import hmac

        return Digest(f"sha256:{hmac.new(self._key(), data, hashlib.sha256).hexdigest()}")

    def _key(self) -> bytes:
        path = self._directory / KEY_NAME
        with suppress(FileNotFoundError):
            key = path.read_bytes()
            if len(key) != KEY_BYTES:
                raise Invalid(f"{str(path)!r} is damaged", "remove it: secrets then count as changed once")
            return key
        self._make_directory()
        temporary = self._directory / f".key.{os.urandom(6).hex()}"
        files.write_atomic(temporary, os.urandom(KEY_BYTES), mode=0o600)
        with suppress(FileExistsError):  # another process was first: its key is the key
            os.link(temporary, path)
        temporary.unlink()
        files.sync_directory(self._directory)
        return path.read_bytes()

    def _make_directory(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
