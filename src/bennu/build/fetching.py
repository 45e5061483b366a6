"""URLs and Git repositories as vertices: what they are now, and that as a tree of the store. See ``solver.Executor``.

The identity of such a vertex is what it resolves to: a file's content and time, a commit. What a URL gave last time is
kept under a record of its own with the server's validators, so that it is only asked whether it changed; a file
whose ``--checksum`` is given is not asked for at all while its content is there. ``http_source`` and ``git_source``
fetch.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import msgspec

from bennu.build import git_source, http_source, keys
from bennu.build.cache import StepCache
from bennu.build.graph import Fetch, GitTree, RemoteSource
from bennu.build.http_source import Known
from bennu.build.keys import Key
from bennu.build.secrets import Grants
from bennu.config import Settings
from bennu.digest import Digest
from bennu.errors import Invalid, Unavailable
from bennu.store.base import CommittedSnapshot
from bennu.store.database import Database
from bennu.store.snapshots import Snapshots

FILE_MODE = 0o600


class Fetcher:
    """Resolves and fetches the remote sources of one build, each once."""

    def __init__(self, settings: Settings, database: Database, snapshots: Snapshots, grants: Grants) -> None:
        self._grants = grants
        self._settings = settings
        self._snapshots = snapshots
        self._cache = StepCache(database, snapshots)
        self._files: dict[Fetch, CommittedSnapshot] = {}
        self._commits: dict[GitTree, git_source.Resolved] = {}

    def resolve(self, step: RemoteSource, cancel: threading.Event) -> Key:
        """The key of what a source is now. Errors as those of ``http_source.fetch`` and ``git_source.resolve``."""
        if isinstance(step, GitTree):
            found = git_source.resolve(step.reference, cancel=cancel, authorization=self._for_git(step))
            self._commits[step] = found
            return keys.commit_key(step, found.commit, found.tag, found.ref)
        if step.checksum is not None:
            return keys.file_key(step.name, step.checksum)
        known, tree = self._fetch(step, cancel)
        self._files[step] = tree
        return keys.file_key(step.name, known.digest, known.modified)

    def make(self, step: RemoteSource, cancel: threading.Event) -> CommittedSnapshot:
        """The tree of what was resolved."""
        if isinstance(step, GitTree):
            return self._check_out(step, cancel)
        if step not in self._files:
            known, tree = self._fetch(step, cancel)
            if known.digest != step.checksum:
                raise Invalid(f"URL {step.url!r} has the content {known.digest}, not the checksum {step.checksum}")
            self._files[step] = tree
        return self._files[step]

    def _fetch(self, step: Fetch, cancel: threading.Event) -> tuple[Known, CommittedSnapshot]:
        """The file as it is now: the tree of the last time where it is the same."""
        last = self._last(step)
        active = self._snapshots.prepare(None)
        try:
            own = self._snapshots.directory(active)
            target = own / step.name
            fetched = http_source.fetch(
                step.url,
                target,
                known=last[0] if last else None,
                cancel=cancel,
                authorization=self._grants.authorization("HTTP", step.url),
            )
            known = fetched.known
            if last is not None and (last[0].digest, last[0].modified) == (known.digest, known.modified):
                self._snapshots.discard(active)
                tree = last[1]
            else:
                os.chmod(target, FILE_MODE)
                _date(own, target, known.modified)
                tree = self._snapshots.commit(active)
        except OSError as error:
            self._snapshots.discard(active)
            raise Unavailable(f"URL {step.url!r} cannot be kept: {error.strerror}") from error
        except BaseException:
            self._snapshots.discard(active)
            raise
        self._remember(step, known, tree)
        return known, tree

    def _for_git(self, step: GitTree) -> str | None:
        return self._grants.authorization("GIT", step.reference.remote)

    def _last(self, step: Fetch) -> tuple[Known, CommittedSnapshot] | None:
        """What the URL gave last time, if that is still there."""
        lookup = keys.lookup_key(step.url, step.name)
        found = self._cache.find(lookup.digest)
        if found is None:
            return None
        self._cache.keep(found)
        tree = self._cache.tree(found)
        fields = dict(self._cache.preimage(lookup.digest))
        try:
            known = Known(Digest(fields["content"]), fields["etag"], fields["last-modified"], int(fields["modified"]))
        except (KeyError, ValueError):  # of another version of this program
            return None
        return None if tree is None else (known, tree)

    def _remember(self, step: Fetch, known: Known, tree: CommittedSnapshot) -> None:
        lookup = keys.lookup_key(step.url, step.name)
        said = (
            ("content", str(known.digest)),
            ("etag", known.etag),
            ("last-modified", known.last_modified),
            ("modified", str(known.modified)),
        )
        record = msgspec.structs.replace(lookup, preimage=(*lookup.preimage, *said))
        self._cache.record([record], lookup.digest, tree.id, f"fetch {step.url}")

    def _check_out(self, step: GitTree, cancel: threading.Event) -> CommittedSnapshot:
        active = self._snapshots.prepare(None)
        try:
            git_source.checkout(
                step.reference,
                self._commits[step],
                self._snapshots.directory(active),
                scratch=self._settings.temporary,
                keep_git_dir=step.keep_git_dir,
                cancel=cancel,
                authorization=self._for_git(step),
            )
            return self._snapshots.commit(active)
        except BaseException:
            self._snapshots.discard(active)
            raise


def _date(directory: Path, file: Path, when: int) -> None:
    os.utime(file, (when, when))
    os.utime(directory, (when, when))
