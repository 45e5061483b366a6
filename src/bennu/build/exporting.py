"""A build's results into what ``--output`` asks for: images of the store, archives, layouts, trees.

Each output is whole or not there: archives and layouts are written beside their place and take it at the end, trees as
``local_export`` does it. Standard output gets what goes there as it is made. Results for several platforms are one
index, or directories side by side. ``outputs`` says what there is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

import msgspec

from bennu.build.annotations import Annotation, chosen
from bennu.build.exported import Exported
from bennu.build.outputs import STDOUT, Output
from bennu.config import Settings
from bennu.errors import Failed, Usage
from bennu.host import files
from bennu.host.mounts import attach
from bennu.host.namespaces import in_private_mounts
from bennu.oci.image_config import ImageConfig
from bennu.oci.manifest import new_index
from bennu.oci.platform import Platform
from bennu.oci.reference import Reference
from bennu.store.base import CommittedSnapshot
from bennu.store.images import Image, Images
from bennu.store.snapshots import Snapshots

if TYPE_CHECKING:
    from bennu.store.archive_writer import Group

T = TypeVar("T")


class Result(msgspec.Struct, frozen=True):
    """What a build came to for one platform: its tree (None: empty) and its configuration."""

    platform: Platform
    tree: CommittedSnapshot | None
    config: ImageConfig


def check_places(outputs: Sequence[Output]) -> None:
    """``Usage`` for outputs that could not be written where they are to go, before anything is built."""
    for output in outputs:
        place = Path(output.dest)
        if not output.dest or output.dest == STDOUT:
            continue
        is_directory = output.kind == "local" or not output.is_archive
        if is_directory and place.exists() and not place.is_dir():
            raise Usage(f"output {output.dest!r} is a file, not a directory", "type=tar writes a file")
        if not is_directory and place.is_dir():
            raise Usage(f"output {output.dest!r} is a directory", f"name a file in it, {output.dest}/image.tar")


class Exporter:
    """Writes the outputs of one build. ``stdout`` is where an output without a path goes."""

    def __init__(
        self,
        settings: Settings,
        images: Images,
        snapshots: Snapshots,
        *,
        host: Platform,
        stdout: IO[bytes] | None,
    ) -> None:
        self._settings = settings
        self._images = images
        self._snapshots = snapshots
        self._host = host
        self._stdout = stdout

    def export(
        self,
        outputs: Sequence[Output],
        results: Sequence[Result],
        names: Sequence[Reference],
        annotations: Sequence[Annotation],
        *,
        has_index: bool,
    ) -> Exported:
        """Write every output; what the last one that is an image has become."""
        exported = Exported()
        for output in outputs:
            own = tuple(names) or output.names
            every = (*annotations, *output.annotations)
            if output.has_image:
                exported = self._image(output, results, own, every, has_index=has_index, before=exported)
            elif output.kind != "cacheonly":
                splits = has_index if output.splits is None else output.splits
                self._tree(output, results, splits=splits)
        return exported

    def _image(
        self,
        output: Output,
        results: Sequence[Result],
        names: tuple[Reference, ...],
        annotations: Sequence[Annotation],
        *,
        has_index: bool,
        before: Exported,
    ) -> Exported:
        direct = names if output.is_image and not has_index else ()
        images = tuple(
            self._images.create(
                result.config,
                result.tree,
                names=direct,
                annotations=chosen(annotations, "manifest", result.platform),
                durable=False,
                listed=output.is_image,
            )
            for result in results
        )
        described = [
            self._images.indexes.describe(image, chosen(annotations, "manifest-descriptor", result.platform))
            for image, result in zip(images, results, strict=True)
        ]
        group: Group | None = None
        if has_index:
            from bennu.store.archive_writer import Group

            group = Group.of(new_index(tuple(described), chosen(annotations, "index")), images)
        if output.is_image and group is not None:
            self._images.indexes.put(group.data, self._host, names=names)
        on_index = chosen(annotations, "index-descriptor")
        descriptor = described[0] if group is None else group.descriptor(on_index)
        if not output.is_image:
            self._write(output, images[0], names, group, on_index)
        kept = tuple(self._images.get(image.manifest) for image in images) if output.is_image else images
        got = tuple(dict.fromkeys((*before.names, *(name.name for name in names))))
        return Exported(kept, descriptor, got)

    def _write(
        self,
        output: Output,
        image: Image,
        names: tuple[Reference, ...],
        group: Group | None,
        annotations: Mapping[str, str],
    ) -> None:
        from bennu.store.archive_writer import Selection, write_archive, write_layout

        selection = Selection(image, names, group)
        docker = output.kind == "docker"
        if not output.is_archive:
            write_layout(self._images, selection, Path(output.dest), annotations)
            return
        with self._opened(output) as sink:
            write_archive(self._images, [selection], sink, docker=docker, annotations=annotations)

    def _opened(self, output: Output) -> AbstractContextManager[IO[bytes]]:
        if output.dest != STDOUT:
            place = Path(output.dest)
            place.parent.mkdir(parents=True, exist_ok=True)
            return files.replacing(place)
        if self._stdout is None:
            raise Usage("nothing takes what an output writes to standard output")
        return nullcontext(self._stdout)

    def _tree(self, output: Output, results: Sequence[Result], *, splits: bool) -> None:
        if output.kind == "local":
            from bennu.build.local_export import export_tree

            place = Path(output.dest)
            self._seen(results, lambda root: export_tree(root, place), splits=splits)
            return
        from bennu.store.tar_output import TarOutput
        from bennu.store.tree import pack

        def write(root: Path) -> None:
            with self._opened(output) as sink, files.directory(root) as fd, TarOutput(sink) as archive:
                pack(fd, None, archive)
                archive.end()

        self._seen(results, write, splits=splits)

    def _seen(self, results: Sequence[Result], function: Callable[[Path], T], *, splits: bool) -> T:
        """Call a function where it sees the trees, each in a directory of its own if they are to be apart."""
        if not splits and len(results) > 1:
            raise Failed("trees for several platforms cannot be one", hint="leave platform-split=false out")
        with files.temporary_directory(self._settings.run / "trees", "trees") as base:
            base.chmod(0o755)
            points = {result.platform: base / str(result.platform).replace("/", "_") for result in results}
            if not splits:
                points = {result.platform: base for result in results}

            def inside() -> T:
                for result in results:
                    point = points[result.platform]
                    point.mkdir(mode=0o755, exist_ok=True)
                    if result.tree is not None:
                        attach(self._snapshots.mounts(result.tree), point)
                return function(base)

            return in_private_mounts(inside)
