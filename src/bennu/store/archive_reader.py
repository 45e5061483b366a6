"""What images an archive holds: an OCI layout, a docker-archive, or both at once, read into ``Found`` values.

Every document is checked against the digest and size that refers to it, and held only up to a limit. Nothing is stored
here; ``archive_loader`` does that. An archive that is both is read as an OCI layout, since that keeps manifests; the
names of the other form count too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Final, NamedTuple, Protocol

import msgspec

from bennu.digest import Digest, algorithm, digest_of, encoded, finish, new_hash, parse_digest
from bennu.errors import Corrupt, Invalid, NotFound, Unsupported
from bennu.oci import document, media
from bennu.oci.descriptor import IMAGE_NAME, REF_NAME, Descriptor
from bennu.oci.image_config import ImageConfig, parse_config
from bennu.oci.manifest import MAX_BYTES, choose, is_index, new_index, parse_index, parse_manifest
from bennu.oci.platform import Platform
from bennu.oci.reference import Reference, parse_name
from bennu.store.archive_tar import Member
from bennu.store.archive_writer import DockerEntry

MAX_LAYERS: Final = 500
_MAX_DEPTH: Final = 4


class Archive(Protocol):
    """What images are found in: a tar archive (``archive_tar``) or a directory (``archive_layout``)."""

    what: str

    def find(self, name: str) -> Member | None:
        """The file of this name, or None."""
        ...

    def member(self, name: str) -> Member:
        """As ``find``; ``Invalid`` if it is missing."""
        ...

    def open(self, member: Member) -> IO[bytes]:
        """A file's bytes."""
        ...

    def read(self, name: str, limit_bytes: int) -> bytes:
        """A small file whole; ``Invalid`` if it is missing or larger than the limit."""
        ...


class FoundLayer(msgspec.Struct, frozen=True):
    """A layer's file in the archive. ``descriptor`` is the manifest's, None in a docker-archive, which has none."""

    diff_id: Digest
    member: Member
    descriptor: Descriptor | None


class FoundIndex(msgspec.Struct, frozen=True):
    """An index in an archive: its bytes, and those of its images that are there too."""

    data: bytes
    members: tuple[Found, ...]


class Found(msgspec.Struct, frozen=True):
    """An image in an archive. ``manifest`` is None in a docker-archive. ``group`` is the index that the names mean, of
    which this is the image that suits.
    """

    config: ImageConfig
    config_bytes: bytes
    config_digest: Digest
    manifest: bytes | None
    layers: tuple[FoundLayer, ...]
    names: tuple[Reference, ...]
    group: FoundIndex | None = None


def find_images(archive: Archive, platform: Platform, *, every: bool = False) -> Iterator[Found]:
    """The images of an archive, those for ``platform`` where there is a choice. ``Invalid``, ``Corrupt``, ``NotFound``.

    An archive with several images of one name for several platforms gives the one that suits; with ``every`` an index
    of which the archive has several images comes with all of them.
    """
    is_docker = archive.find("manifest.json") is not None
    if archive.find("index.json") is not None:
        tagged = _docker_names(archive) if is_docker else {}
        for descriptor, names, index in _oci_manifests(archive, platform):
            group = _group(archive, index) if every and index is not None else None
            yield msgspec.structs.replace(_oci_image(archive, descriptor, names, tagged), group=group)
    elif is_docker:
        for entry in _docker_entries(archive):
            yield _docker_image(archive, entry)
    elif archive.find("repositories") is not None:
        raise Unsupported(f"{archive.what} is of Docker before version 1.10", "save the image again with a newer one")
    else:
        raise Invalid(f"{archive.what} is neither an OCI layout nor a docker-archive", "`bennu save` makes one")


def find_image(archive: Archive, wanted: str | Digest, platform: Platform, *, by_digest: bool) -> Found:
    """The one image of an OCI layout that has a tag (or name), or a digest. ``NotFound`` lists what there is."""
    index = parse_index(archive.read("index.json", MAX_BYTES), f"index.json of {archive.what}")
    if by_digest:
        digest = parse_digest(wanted)
        found = [each for each in index.manifests if each.digest == digest][:1]
        if not found and archive.find(_path(digest)) is not None:
            data = archive.read(_path(digest), MAX_BYTES)
            found = [Descriptor(media.OCI_INDEX if is_index(data) else media.OCI_MANIFEST, digest, len(data))]
    else:
        names = (REF_NAME, IMAGE_NAME)
        found = [each for each in index.manifests if wanted in {each.annotations.get(name) for name in names}]
    if not found:
        have = ", ".join(sorted({each.annotations.get(REF_NAME, each.digest) for each in index.manifests})) or "nothing"
        raise NotFound(f"{archive.what} has no image {wanted!r}; it has {have}")
    one = found[0] if len(found) == 1 else choose(new_index(tuple(found)), platform, f"{wanted!r} in {archive.what}")
    return _oci_image(archive, _manifest_of(archive, one, platform), (), {})


class _Listed(NamedTuple):
    """What ``index.json`` leads to: a manifest, all names that it has there, and the index in ``between``."""

    manifest: Descriptor
    names: tuple[Reference, ...]
    between: Descriptor | None


def _oci_manifests(archive: Archive, platform: Platform) -> list[_Listed]:
    """The manifests to take out of ``index.json``, each once."""
    index = parse_index(archive.read("index.json", MAX_BYTES), f"index.json of {archive.what}")
    by_name: dict[Reference | Digest, list[Descriptor]] = {}
    for descriptor in index.manifests:
        name = _oci_name(descriptor)
        by_name.setdefault(descriptor.digest if name is None else name, []).append(descriptor)
    chosen: dict[Digest, _Listed] = {}
    for name_or_digest, descriptors in by_name.items():
        one = descriptors[0]
        if len(descriptors) > 1:
            one = choose(new_index(tuple(descriptors)), platform, f"{str(name_or_digest)!r} in {archive.what}")
        between = one if one.media_type in media.INDEXES else None
        listed = _Listed(_manifest_of(archive, one, platform), (), between)
        names = chosen.get(one.digest, listed).names
        own = () if isinstance(name_or_digest, str) else (name_or_digest,)
        chosen[one.digest] = listed._replace(names=names + own)
    if not chosen:
        raise Invalid(f"{archive.what} holds no image")
    return list(chosen.values())


def _group(archive: Archive, descriptor: Descriptor) -> FoundIndex | None:
    """An index with its images, where the archive has several of them; what is no image (an attestation) stays out."""
    data = _document(archive, descriptor)
    present = [
        each
        for each in parse_index(data, descriptor.digest).manifests
        if each.media_type in media.MANIFESTS
        and (each.platform is None or each.platform.os != "unknown")
        and archive.find(_path(each.digest)) is not None
    ]
    if len(present) < 2:
        return None
    return FoundIndex(data, tuple(_oci_image(archive, each, (), {}) for each in present))


def _oci_name(descriptor: Descriptor) -> Reference | None:
    """The name in a descriptor's annotations. A bare word is a tag of nothing known, so it names nothing."""
    text = descriptor.annotations.get(IMAGE_NAME) or descriptor.annotations.get(REF_NAME, "")
    return parse_name(text) if "/" in text or ":" in text else None


def _manifest_of(archive: Archive, descriptor: Descriptor, platform: Platform) -> Descriptor:
    """The manifest that a descriptor leads to, through indexes."""
    for _ in range(_MAX_DEPTH):
        if descriptor.media_type not in media.INDEXES:
            return descriptor
        index = parse_index(_document(archive, descriptor), descriptor.digest)
        descriptor = choose(index, platform, f"index {descriptor.digest} in {archive.what}")
    raise Invalid(f"{archive.what} has indexes nested more than {_MAX_DEPTH} deep")


def _oci_image(
    archive: Archive,
    descriptor: Descriptor,
    names: tuple[Reference, ...],
    tagged: dict[str, tuple[Reference, ...]],
) -> Found:
    data = _document(archive, descriptor)
    manifest = parse_manifest(data, descriptor.digest)
    if manifest.config.media_type not in media.CONFIGS:
        raise Unsupported(
            f"manifest {descriptor.digest} in {archive.what} holds {manifest.config.media_type!r}, not an image"
        )
    for layer in manifest.layers:
        if media.layer_compression(layer.media_type) is None:
            raise Unsupported(f"layer {layer.digest} in {archive.what} has the media type {layer.media_type!r}")
    config_bytes = _document(archive, manifest.config)
    members = [_member(archive, layer) for layer in manifest.layers]
    also = tagged.get(f"blobs/{algorithm(manifest.config.digest)}/{encoded(manifest.config.digest)}", ())
    return _found(
        config_bytes,
        manifest.config.digest,
        data,
        list(zip(members, manifest.layers, strict=True)),
        _unique(names + also),
    )


def _docker_entries(archive: Archive) -> tuple[DockerEntry, ...]:
    data = archive.read("manifest.json", MAX_BYTES)
    entries = document.decode(data, tuple[DockerEntry, ...], f"manifest.json of {archive.what}")
    if not entries:
        raise Invalid(f"{archive.what} holds no image")
    return entries


def _docker_names(archive: Archive) -> dict[str, tuple[Reference, ...]]:
    return {entry.config: _tags(entry) for entry in _docker_entries(archive)}


def _docker_image(archive: Archive, entry: DockerEntry) -> Found:
    name = _plain(entry.config)
    config_bytes = archive.read(name, MAX_BYTES)
    digest = digest_of(config_bytes)
    stem = name.rpartition("/")[2].removesuffix(".json")
    if len(stem) == len(encoded(digest)) and stem != encoded(digest):
        raise Corrupt(f"{archive.what}: {name!r} has the digest {digest}")
    members = [archive.member(_plain(layer)) for layer in entry.layers]
    return _found(config_bytes, digest, None, [(member, None) for member in members], _tags(entry))


def _found(
    config_bytes: bytes,
    config_digest: Digest,
    manifest: bytes | None,
    layers: Sequence[tuple[Member, Descriptor | None]],
    names: tuple[Reference, ...],
) -> Found:
    config = parse_config(config_bytes, config_digest)
    if len(config.diff_ids) != len(layers):
        raise Invalid(f"image configuration {config_digest} has {len(config.diff_ids)} layers, its image {len(layers)}")
    if len(layers) > MAX_LAYERS:
        raise Unsupported(f"image configuration {config_digest} has {len(layers)} layers; overlayfs takes {MAX_LAYERS}")
    return Found(
        config=config,
        config_bytes=config_bytes,
        config_digest=config_digest,
        manifest=manifest,
        layers=tuple(
            FoundLayer(diff_id, member, descriptor)
            for diff_id, (member, descriptor) in zip(config.diff_ids, layers, strict=True)
        ),
        names=names,
    )


def _document(archive: Archive, descriptor: Descriptor) -> bytes:
    """A manifest, index or configuration, verified."""
    data = archive.read(_path(descriptor.digest), MAX_BYTES)
    running = new_hash(descriptor.digest)
    running.update(data)
    found = finish(running, algorithm(descriptor.digest))
    if found != descriptor.digest or len(data) != descriptor.size_bytes:
        raise Corrupt(f"{archive.what}: {descriptor.digest} has the digest {found} and {len(data)} bytes")
    return data


def _member(archive: Archive, layer: Descriptor) -> Member:
    member = archive.member(_path(layer.digest))
    if member.size_bytes != layer.size_bytes:
        raise Corrupt(f"{archive.what}: layer {layer.digest} has {member.size_bytes} bytes, not {layer.size_bytes}")
    return member


def _path(digest: Digest) -> str:
    return f"blobs/{algorithm(parse_digest(digest))}/{encoded(digest)}"


def _plain(name: str) -> str:
    return name.removeprefix("./")


def _tags(entry: DockerEntry) -> tuple[Reference, ...]:
    return _unique(parse_name(tag) for tag in entry.repo_tags)


def _unique(names: Iterable[Reference]) -> tuple[Reference, ...]:
    return tuple(dict.fromkeys(names))
