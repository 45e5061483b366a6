"""Settings: where bennu keeps things, taken from the environment once, at the start of a command.

Owns the layout of the two directories: the *root*, which survives a reboot, and the *run* directory, which does not.
Names that are global to the host (bridges, nftables tables, cgroups, sockets) carry ``key``, a short digest of the
root's path, so that two roots on one host never meet. ``settings.toml`` in the root gives
what the environment does not. Nothing else reads ``os.environ`` for a setting.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from bennu.digest import sha256_hex

FILE_KEYS = ("build_cache_limit", "disk_limit")
"""What ``settings.toml`` can say."""


class Settings(msgspec.Struct, frozen=True):
    """Where things are. ``root`` and ``run`` are absolute; ``oci_runtime`` is a program's name, or None to probe.

    ``build_cache_limit`` and ``disk_limit`` are what the build cache and all of the root but its volumes may take, as
    they were written; ``build.limit`` reads them.
    ``docker_config`` is the directory of Docker's ``config.json``, ``registries`` the file that configures registries,
    which need not be there; None for nobody's.
    """

    root: Path
    run: Path
    oci_runtime: str | None = None
    build_cache_limit: str | None = None
    disk_limit: str | None = None
    docker_config: Path | None = None
    registries: Path | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], root: str | None = None) -> Settings:
        """Settings of ``--root``, else ``BENNU_ROOT``, else ``/var/lib/bennu`` (root) or the XDG directories."""
        is_root = os.geteuid() == 0
        home = Path(environ.get("HOME") or "/")
        state = Path(environ.get("XDG_DATA_HOME") or home / ".local/share")
        chosen = root or environ.get("BENNU_ROOT")
        place = Path(chosen) if chosen else Path("/var/lib/bennu") if is_root else state / "bennu"
        place = Path(os.path.realpath(place))
        base = Path("/run") if is_root else Path(environ.get("XDG_RUNTIME_DIR") or f"/tmp/bennu-run-{os.geteuid()}")
        written = _written(place / "settings.toml")
        return cls(
            root=place,
            run=base / "bennu" / key_of(place),
            oci_runtime=environ.get("BENNU_RUNTIME") or None,
            build_cache_limit=environ.get("BENNU_BUILD_CACHE_LIMIT") or written.get("build_cache_limit"),
            disk_limit=environ.get("BENNU_DISK_LIMIT") or written.get("disk_limit"),
            docker_config=Path(environ.get("DOCKER_CONFIG") or home / ".docker"),
            registries=_registries(environ, Path("/etc") if is_root else home),
        )

    @property
    def key(self) -> str:
        """Eight hexadecimal digits that name this root in the host's global name spaces."""
        return key_of(self.root)

    @property
    def database(self) -> Path:
        """The SQLite file with everything relational."""
        return self.root / "bennu.db"

    @property
    def blobs(self) -> Path:
        """OCI blobs, ``<algorithm>/<hex>`` as in an OCI layout."""
        return self.root / "blobs"

    @property
    def snapshots(self) -> Path:
        """One directory a snapshot: ``<id>/fs`` and, while active, ``<id>/work``."""
        return self.root / "snapshots"

    @property
    def containers(self) -> Path:
        """One directory a container: its bundle, its upper directory, its log and its exit status."""
        return self.root / "containers"

    @property
    def volumes(self) -> Path:
        """One directory a named volume, its content under ``_data``."""
        return self.root / "volumes"

    @property
    def cache_mounts(self) -> Path:
        """One directory a cache mount of builds, its content under ``data``."""
        return self.root / "cache-mounts"

    @property
    def projects(self) -> Path:
        """One directory a project: the switch's configuration and maps, the shared hosts files."""
        return self.root / "projects"

    @property
    def builds(self) -> Path:
        """Logs of builds, one directory a build."""
        return self.root / "builds"

    @property
    def file_digests(self) -> Path:
        """What is remembered of the files of build contexts, one file a context."""
        return self.root / "file-digests"

    @property
    def failures(self) -> Path:
        """Steps of builds that failed and can be looked into, one JSON file each."""
        return self.root / "failures"

    @property
    def sources(self) -> Path:
        """Checkouts of commits that were pushed or followed, ``<repository>/<commit>/<name>``."""
        return self.root / "sources"

    @property
    def temporary(self) -> Path:
        """Half-made things, on the root's file system so that they can be renamed into place; swept by ``gc``."""
        return self.root / "tmp"

    @property
    def locks(self) -> Path:
        """Lock files: on the root, since they guard what is there."""
        return self.root / "locks"


def _written(path: Path) -> dict[str, str]:
    """The settings of a root's own file; nothing where there is none. ``Invalid``."""
    try:
        text = path.read_bytes()
    except OSError:  # none, or one of somebody else's
        return {}
    import tomllib

    from bennu.errors import Invalid

    try:
        found = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"file {str(path)!r} is no TOML: {error}") from error
    for key, value in found.items():
        if key not in FILE_KEYS:
            raise Invalid(f"file {str(path)!r}: {key!r} is no setting", f"settings are {' and '.join(FILE_KEYS)}")
        if not isinstance(value, str):
            raise Invalid(f"file {str(path)!r}: {key} is {value!r}, should be a text", f'{key} = "20GB"')
    return found


def key_of(root: Path) -> str:
    """The short digest of a root's absolute path."""
    return sha256_hex(os.fsencode(root))[:8]


def _registries(environ: Mapping[str, str], home: Path) -> Path:
    given = environ.get("BENNU_REGISTRIES")
    if given:
        return Path(given)
    base = home if home == Path("/etc") else Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    return base / "bennu/registries.toml"
