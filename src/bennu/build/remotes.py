"""Sources that are elsewhere: URLs of files and references to Git repositories, as ADD and contexts take them. Pure.

``https://host/name.git#ref:directory`` is a repository, as is ``git@host:path`` and whatever begins with ``git://`` or
``ssh://``; any other ``http://`` or ``https://`` is a file. What follows ``?`` says the same by name (``ref``,
``branch``, ``tag``, ``subdir``, ``checksum``, ``keep-git-dir``, ``submodules``, ``mtime``, ``fetch-by-commit``).
``git_source`` and ``http_source`` fetch. Source of the rules: the Dockerfile reference, "ADD", and BuildKit.
"""

from __future__ import annotations

import posixpath
import re
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from bennu.errors import Invalid

UNNAMED: Final = "__unnamed__"
"""What a file is called whose URL has no name in it."""

_SCHEME: Final = r"([a-zA-Z0-9]+)://"  # re keeps what it has compiled
_WITHOUT_SCHEME: Final = r"([a-zA-Z0-9_-]+@[a-zA-Z0-9.-]+:[^\n]*?)(?:\?([^\n]*?))?(?:#([^\n]*))?"
_COMMIT: Final = r"[0-9a-f]{40}|[0-9a-f]{64}"
_CHECKSUM: Final = r"[0-9a-fA-F]+"
_SHORTHAND: Final = "github.com/"
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_SWITCHES: Final = frozenset({"keep-git-dir", "submodules", "fetch-by-commit"})


class GitReference(msgspec.Struct, frozen=True):
    """A place in a Git repository.

    ``ref`` is a branch, a tag, a full reference or a commit; empty is the default branch. ``subdirectory`` is relative
    and clean, empty for all. ``checksum`` is the beginning of the commit that is expected. ``keep_git_dir`` None: it is
    for the instruction to say. ``by_commit``: the checksum is the commit, and nothing is asked for what the ref is now.
    ``is_shorthand``: ``github.com/...``, which only a build context may be, since it could be a path as well.
    """

    remote: str
    ref: str = ""
    subdirectory: str = ""
    checksum: str = ""
    keep_git_dir: bool | None = None
    submodules: bool = True
    by_commit: bool = False
    is_shorthand: bool = False

    @property
    def shown(self) -> str:
        """The remote without user and password, for people and for what is kept."""
        return without_credentials(self.remote)


def is_commit(text: str) -> bool:
    """Whether a text is a whole commit, of either of Git's digests."""
    return re.fullmatch(_COMMIT, text) is not None


def without_credentials(remote: str) -> str:
    """A URL of HTTP in which ``xxxxx`` stands for user and password; anything else as it is."""
    found = re.match(r"(https?://)([^/@?#]*)@", remote, re.IGNORECASE)
    if found is None:
        return remote
    return f"{found[1]}{re.sub('[^:]+', 'xxxxx', found[2], count=2)}@{remote[found.end() :]}"


def parse_git_reference(text: str) -> GitReference | None:
    """What a text says of a Git repository; None where it means a file, a URL or an image.

    ``Invalid`` for a reference whose ``?`` or ref cannot be meant.
    """
    if text.startswith(("./", "../")):
        return None
    if text.startswith(_SHORTHAND):
        remote, query, fragment = _split("https://" + text)
        return _reference(remote, query, fragment, is_shorthand=True)
    scheme = re.match(_SCHEME, text)
    if scheme is None:
        found = re.fullmatch(_WITHOUT_SCHEME, text)
        return None if found is None else _reference(found[1], found[2] or "", found[3] or "")
    if scheme[1].lower() not in {"http", "https", "ssh", "git"}:
        return None
    remote, query, fragment = _split(text)
    if scheme[1].lower() in {"http", "https"} and not _path(remote).endswith(".git"):
        return None
    return _reference(remote, query, fragment)


def is_url(text: str) -> bool:
    """Whether a source is a file at a URL: ``http://`` or ``https://`` and no Git repository."""
    return text.startswith(("http://", "https://")) and parse_git_reference(text) is None


def file_name(url: str) -> str:
    """The name that a fetched file has: the last one of the URL's path."""
    name = posixpath.basename(_path(url).rstrip("/")).strip()
    if name in {"", "."}:
        return UNNAMED
    if name == ".." or any(ord(ch) < 0x20 or 0x7F <= ord(ch) < 0xA0 for ch in name):
        return "download"
    return name


def _path(url: str) -> str:
    try:
        return unquote(urlsplit(url).path)
    except ValueError:  # brackets that are no address
        return ""


def _split(url: str) -> tuple[str, str, str]:
    """A URL without its query and fragment, then these."""
    before, _, fragment = url.partition("#")
    remote, _, query = before.partition("?")
    scheme, colon, rest = remote.partition(":")
    return f"{scheme.lower()}{colon}{rest}", query, unquote(fragment)


def _reference(remote: str, query: str, fragment: str, *, is_shorthand: bool = False) -> GitReference:
    ref, _, directory = fragment.partition(":")
    values = _values(query)
    if directory and "subdir" in values and values["subdir"] != _relative(directory):
        raise Invalid(f"Git repository {remote!r}: two directories, {directory!r} and {values['subdir']!r}")
    reference = GitReference(
        remote,
        ref=_ref(remote, ref, values),
        subdirectory=_relative(values.get("subdir") or directory),
        checksum=_checksum(remote, values),
        keep_git_dir=_truth(values, "keep-git-dir"),
        submodules=_truth(values, "submodules") is not False,
        by_commit=_truth(values, "fetch-by-commit") is True,
        is_shorthand=is_shorthand,
    )
    if reference.by_commit and not is_commit(reference.checksum) and not is_commit(reference.ref):
        raise Invalid(f"Git repository {remote!r}: fetch-by-commit needs a checksum that is a whole commit")
    return reference


def _relative(directory: str) -> str:
    return posixpath.normpath("/" + directory).lstrip("/")


def _values(query: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in values:
            raise Invalid(f"Git repository: {name!r} is given twice in {query!r}")
        if not value and name not in _SWITCHES:
            raise Invalid(f"Git repository: {name!r} has no value in {query!r}")
        if name not in _KNOWN:
            from bennu.dockerfile import spelling

            known = f"what may stand behind '?' is {', '.join(_KNOWN)}"
            raise Invalid(f"Git repository: unknown {name!r} in {query!r}", spelling.hint(name, _KNOWN, known))
        values[name] = value
    if values.get("mtime", "commit") not in {"commit", "checkout"}:
        raise Invalid(f"Git repository: mtime is {values['mtime']!r}", "it is commit or checkout")
    return values


_KNOWN: Final = (
    "ref",
    "tag",
    "branch",
    "subdir",
    "checksum",
    "commit",
    "keep-git-dir",
    "submodules",
    "mtime",
    "fetch-by-commit",
)


def _truth(values: dict[str, str], name: str) -> bool | None:
    value = values.get(name)
    if value is None:
        return None
    if value and value not in _TRUE | _FALSE:
        raise Invalid(f"Git repository: {name} is neither true nor false but {value!r}")
    return not value or value in _TRUE


def _ref(remote: str, ref: str, values: dict[str, str]) -> str:
    if "tag" in values and "branch" in values:
        raise Invalid(f"Git repository {remote!r}: both a branch and a tag")
    for name, prefix in (("ref", ""), ("tag", "refs/tags/"), ("branch", "refs/heads/")):
        if name in values:
            value = prefix + values[name].removeprefix(prefix)
            if ref not in {"", value}:
                raise Invalid(f"Git repository {remote!r}: two refs, {ref!r} and {value!r}")
            ref = value
    if ref.startswith("-"):
        raise Invalid(f"Git repository {remote!r}: {ref!r} is no ref")
    return ref


def _checksum(remote: str, values: dict[str, str]) -> str:
    checksum = values.get("checksum") or values.get("commit") or ""
    check_commit(checksum, f"Git repository {remote!r}")
    return checksum


def check_commit(checksum: str, what: str) -> None:
    """``Invalid`` where a checksum is given that no commit can begin with."""
    if checksum and re.fullmatch(_CHECKSUM, checksum) is None:
        raise Invalid(f"{what}: the checksum {checksum!r} is no commit", "a commit is hexadecimal")
