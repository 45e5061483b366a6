"""The contexts of one build, opened: as trees to copy from, and for the Dockerfile in them.

A directory is read where it is, and ``.dockerignore`` counts; its owners do not. Whatever is no directory of this
host (an archive, a URL, a repository) is unpacked once into a temporary one, which is removed at the end; there the
owners count, and nothing is left out, as in BuildKit. Named contexts are opened when something takes from them.
``origins`` says what there is.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self

from bennu.build.file_digests import FileDigests
from bennu.build.origins import Archive, Directory, NamedOrigin, NoFiles, Origin, Remote, Repository
from bennu.build.secrets import Grants
from bennu.build.source import SourceTree, load_rules
from bennu.config import Settings
from bennu.errors import BennuError, Corrupt, Invalid, NotFound
from bennu.host import files

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

DOCKERFILE: Final = "Dockerfile"
FETCHED: Final = "context"
"""What a file is called that a URL gave instead of an archive."""
_BLOCK: Final = 512
_BUFFER_BYTES: Final = 1 << 18
NO_GRANTS: Final = Grants()
MAX_DOCKERFILE_BYTES: Final = 16 << 20


class Contexts:
    """The contexts of one build: its own, whose name is empty, and the named ones. Safe with several threads.

    ``dockerfile`` is where the Dockerfile was looked for: with it its own ignore file is found. ``grants`` may have
    what servers ask for.
    """

    def __init__(
        self,
        settings: Settings,
        main: Origin,
        named: Mapping[str, NamedOrigin],
        *,
        dockerfile: Path | None = None,
        keep_git_dir: bool = False,
        grants: Grants = NO_GRANTS,
    ) -> None:
        self._grants = grants
        self._settings = settings
        self._main = main
        self._named = named
        self._dockerfile = dockerfile
        self._keep_git_dir = keep_git_dir
        self._stack = ExitStack()
        self._lock = threading.RLock()
        self._trees: dict[str, SourceTree] = {}
        self._digests: dict[str, FileDigests] = {}
        self.is_single_file = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def tree(self, name: str = "") -> SourceTree:
        """The tree of a context. ``NotFound`` for a directory that is not there; what fetching raises."""
        with self._lock:
            if name not in self._trees:
                self._trees[name] = self._opened(name)
            return self._trees[name]

    def digests(self, name: str) -> FileDigests:
        """The remembered digests of its files; of what is fetched anew each time nothing is remembered."""
        tree = self.tree(name)
        with self._lock:
            if name not in self._digests:
                lasts = isinstance(self._named[name] if name else self._main, Directory)
                self._digests[name] = FileDigests(self._settings.file_digests if lasts else None, str(tree.root))
            return self._digests[name]

    @property
    def hashed(self) -> int:
        """Files that were read to be hashed."""
        return sum(each.hashed for each in self._digests.values())

    def _opened(self, name: str) -> SourceTree:
        origin = self._named[name] if name else self._main
        what = f"the context {name!r}" if name else "the build context"
        if isinstance(origin, Directory):
            path = Path(origin.path)
            if not path.is_dir():
                raise NotFound(f"{what}: {origin.path!r} is not a directory")
            rules = load_rules(path, None if name else self._dockerfile)
            return SourceTree(path, what=what, rules=rules, keeps_owners=False)
        place = self._stack.enter_context(files.temporary_directory(self._settings.temporary, "context"))
        root = place / "root"
        root.mkdir(mode=0o755)
        if isinstance(origin, Archive):
            _unpack(origin.stream, root, what)
        elif isinstance(origin, Repository):
            self._check_out(origin, place, root, is_main=not name)
        elif isinstance(origin, Remote):
            self._fetch(origin, place, root, is_main=not name)
        else:
            assert isinstance(origin, NoFiles)  # an image is no context's tree
        return SourceTree(root, what=what, keeps_owners=True)

    def _check_out(self, origin: Repository, place: Path, root: Path, *, is_main: bool) -> None:
        from bennu.build.git_source import checkout, resolve

        keeps = origin.reference.keep_git_dir or (is_main and self._keep_git_dir)
        reference, allowed = origin.reference, self._grants.authorization("GIT", origin.reference.remote)
        found = resolve(reference, authorization=allowed)
        checkout(reference, found, root, scratch=place, keep_git_dir=bool(keeps), authorization=allowed)

    def _fetch(self, origin: Remote, place: Path, root: Path, *, is_main: bool) -> None:
        from bennu.build.http_source import fetch

        file = place / "file"
        known = fetch(origin.url, file, authorization=self._grants.authorization("HTTP", origin.url)).known
        with file.open("rb") as stream:
            if is_main and is_archive(stream.read(_BLOCK)):
                stream.seek(0)
                _unpack(stream, root, f"the build context at {origin.url!r}")
                return
        target = root / FETCHED
        os.rename(file, target)
        os.chmod(target, 0o600)
        os.utime(target, (known.modified, known.modified))
        self.is_single_file = self.is_single_file or is_main

    def read(self, dockerfile: Path | None) -> tuple[bytes, str]:
        """The Dockerfile's text and what errors call it. ``NotFound``.

        In a directory the path is as it is; in what was fetched a relative one is from its root, an absolute one this
        host's. ``dockerfile`` in lower case stands in for a missing ``Dockerfile``.
        """
        if isinstance(self._main, Directory):
            path = dockerfile or Path(self._main.path) / DOCKERFILE
        elif dockerfile is not None and dockerfile.is_absolute():
            path = dockerfile
        else:
            return self._read_inside(str(dockerfile or DOCKERFILE))
        for each in _spelled(str(path)):
            try:
                return Path(each).read_bytes(), os.path.relpath(each)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise BennuError(f"Dockerfile {each!r}: {error.strerror}") from error
        raise NotFound(f"Dockerfile {str(path)!r} does not exist", "name it with --file")

    def _read_inside(self, name: str) -> tuple[bytes, str]:
        tree = self.tree()
        if self.is_single_file:
            name = FETCHED
        for each in _spelled(name):
            text = files.read_in_root(tree.root, each, limit_bytes=MAX_DOCKERFILE_BYTES)
            if text is not None:
                return text, each
        raise NotFound(f"Dockerfile {name!r} is not in {tree.what}", "name it with --file")


def _spelled(path: str) -> tuple[str, ...]:
    head, name = os.path.split(path)
    return (path, os.path.join(head, name.lower())) if name == DOCKERFILE else (path,)


def _unpack(stream: IO[bytes], root: Path, what: str) -> None:
    """Unpack an archive, compressed or not, names as they are. ``Corrupt`` names the context."""
    from bennu.store.compression import decompressed
    from bennu.store.tar_reader import TarReader
    from bennu.store.tree_writer import TreeWriter

    try:
        with (
            decompressed(stream, what) as plain,
            TarReader(plain) as members,
            files.directory(root) as fd,
            TreeWriter(fd, whiteouts=False) as writer,
        ):
            for member in members:
                writer.write(member, members)
    except Corrupt as error:
        raise Corrupt(f"{what}: {error.message}", error.hint) from error


def is_archive(head: bytes) -> bool:
    """Whether bytes are the beginning of a tar archive, or of something compressed, which then has to be one."""
    from bennu.store.compression import sniff

    return sniff(head) != "none" or _is_tar_header(head[:_BLOCK])


def _is_tar_header(block: bytes) -> bool:
    """Whether a block has the checksum of a tar header (pax(1) of POSIX.1-2017, "ustar Interchange Format")."""
    if len(block) < _BLOCK or not block.strip(b"\0"):
        return False
    try:
        wanted = int(block[148:156].strip(b"\0 ") or b"-1", 8)
    except ValueError:
        return False
    return sum(block) - sum(block[148:156]) + 8 * 0x20 == wanted


def opened_stream(stream: IO[bytes]) -> Archive | bytes:
    """What standard input holds as a context: an archive, or else the text of a Dockerfile. ``Invalid`` for nothing."""
    head = b""
    while len(head) < _BLOCK and (more := stream.read(_BLOCK - len(head))):  # a pipe gives little at a time
        head += more
    if not head:
        raise Invalid("standard input is empty", "with '-' it is a tar archive of the context, or a Dockerfile")
    if is_archive(head):
        return Archive(io.BufferedReader(_Joined(head, stream), _BUFFER_BYTES))
    return head + stream.read()


class _Joined(io.RawIOBase):
    """Bytes that were read from a stream already, then the rest of it."""

    def __init__(self, head: bytes, stream: IO[bytes]) -> None:
        super().__init__()
        self._head = head
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self._head[: len(view)] or self._stream.read(len(view))
        self._head = self._head[len(view) :]
        view[: len(data)] = data
        return len(data)
