"""What ``--output`` asks for: where a build's result goes, and in which form. Pure; ``exporting`` does it.

``type=KIND,OPTION=VALUE,...`` in the form of a line of CSV, a path alone for ``type=local,dest=PATH``, ``-`` alone for
``type=tar,dest=-``. Options that change nothing here are taken, those that would are refused by name.
Source: Docker's ``buildx build`` reference, "--output", and BuildKit's README.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from bennu.build.annotations import Annotation, parse_option
from bennu.dockerfile import spelling
from bennu.errors import Invalid, Unsupported, Usage
from bennu.oci.reference import Reference, parse_name

Kind = Literal["image", "local", "tar", "oci", "docker", "cacheonly"]

STDOUT: Final = "-"
_KINDS: Final[tuple[Kind, ...]] = ("image", "local", "tar", "oci", "docker", "cacheonly")
_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_IMAGES: Final = frozenset({"image", "oci", "docker"})
_OF_ANY_IMAGE: Final = frozenset(
    {"name", "oci-mediatypes", "compression", "compression-level", "force-compression", "rewrite-timestamp"}
)
_OPTIONS: Final[dict[str, frozenset[str]]] = {
    "image": _OF_ANY_IMAGE | {"push", "store", "unpack"},
    "local": frozenset({"platform-split"}),
    "tar": frozenset({"platform-split"}),
    "oci": _OF_ANY_IMAGE | {"tar"},
    "docker": _OF_ANY_IMAGE | {"tar"},
    "cacheonly": frozenset(),
}


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """One place that the result goes to.

    ``dest`` is a path or ``STDOUT``, empty for the store. ``names`` are the output's own, which count where the build
    has none. ``is_archive`` off: an OCI layout as a directory. ``splits``: each platform has a directory of its own;
    None leaves that to whether there are several.
    """

    kind: Kind
    dest: str = ""
    names: tuple[Reference, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    is_archive: bool = True
    splits: bool | None = None

    @property
    def is_image(self) -> bool:
        """It goes into the store, as an image."""
        return self.kind in {"image", "docker"} and not self.dest

    @property
    def has_image(self) -> bool:
        """It is an image, wherever it goes, and no bare tree."""
        return self.kind in _IMAGES


IMAGE: Final = Output(kind="image")
"""What a build makes unless it is told otherwise."""


def parse_output(text: str) -> Output:
    """What one ``--output`` says. ``Usage``, ``Unsupported``."""
    fields = _fields(text)
    if fields == [text] and not text.startswith("type="):
        return _checked(Output(kind="tar", dest=STDOUT) if text == STDOUT else Output(kind="local", dest=text), text)
    values: dict[str, str] = {}
    for field in fields:
        name, equals, value = field.partition("=")
        name = name.strip() if name.startswith("annotation") else name.strip().lower()
        if not equals:
            raise Usage(f"--output {text!r}: {field!r} is not OPTION=VALUE", "write it as type=KIND,dest=PATH")
        values[name] = value
    kind = values.pop("type", "")
    if not kind:
        raise Usage(f"--output {text!r} has no type", f"there are {', '.join(_KINDS)}")
    return _checked(_described(kind, values, text), text)


def _fields(text: str) -> list[str]:
    import csv

    rows = list(csv.reader([text], strict=False))
    if not rows or not rows[0]:
        raise Usage(f"--output {text!r} is empty", "give a path, '-', or type=KIND,dest=PATH")
    return rows[0]


def _described(kind: str, values: dict[str, str], text: str) -> Output:
    if kind == "registry" or (kind == "image" and _truth("push", values.get("push", "false"), text)):
        raise Unsupported(f"--output {text!r}: an output is kept here", "write --push, or `bennu push NAME` afterwards")
    known = next((each for each in _KINDS if each == kind), None)
    if known is None:
        hint = spelling.hint(kind, _KINDS, f"there are {', '.join(_KINDS)}")
        raise Usage(f"--output {text!r}: unknown type {kind!r}", hint)
    dest = values.pop("dest", "")
    annotations: list[Annotation] = []
    for name, value in list(values.items()):
        annotation = parse_option(name, value) if known in _IMAGES else None
        if annotation is not None:
            annotations.append(annotation)
        elif name not in _OPTIONS[known]:
            options = sorted(_OPTIONS[known] | {"dest"})
            hint = spelling.hint(name, options, f"{kind} takes {', '.join(options)}")
            raise Usage(f"--output {text!r}: {kind} has no option {name!r}", hint)
    _refuse(values, text)
    is_archive = _truth("tar", values.get("tar", "true"), text)
    if known == "oci" and not dest:
        dest = STDOUT
    if known == "image" and dest:
        raise Usage(f"--output {text!r}: an image goes into the store", "type=docker and type=oci write files")
    if known == "image" and not _truth("store", values.get("store", "true"), text):
        known = "cacheonly"
    return Output(
        kind=known,
        dest=STDOUT if known == "tar" and not dest else dest,
        names=_names(values.get("name", "")),
        annotations=tuple(annotations),
        is_archive=is_archive,
        splits=_truth("platform-split", values["platform-split"], text) if "platform-split" in values else None,
    )


def _refuse(values: dict[str, str], text: str) -> None:
    """Refuse what would give other bytes than those that are kept."""
    if values.get("compression", "uncompressed") != "uncompressed":
        raise Unsupported(
            f"--output {text!r}: layers leave as they are kept, which is uncompressed",
            "leave compression= out, and compress the whole archive",
        )
    if not _truth("oci-mediatypes", values.get("oci-mediatypes", "true"), text):
        raise Unsupported(f"--output {text!r}: manifests have OCI's media types", "leave oci-mediatypes= out")
    for name in ("force-compression", "rewrite-timestamp", "unpack"):
        _truth(name, values.get(name, "false"), text)


def _names(text: str) -> tuple[Reference, ...]:
    return tuple(parse_name(name.strip()) for name in text.split(",") if name.strip())


def _truth(name: str, value: str, text: str) -> bool:
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise Usage(f"--output {text!r}: {name} is neither true nor false but {value!r}")


def _checked(output: Output, text: str) -> Output:
    is_directory = output.kind == "local" or not output.is_archive
    if is_directory and not output.dest:
        raise Usage(f"--output {text!r}: dest is missing", f"write it as type={output.kind},dest=DIR")
    if is_directory and output.dest == STDOUT:
        raise Usage(f"--output {text!r}: a directory cannot go to standard output", "type=tar can")
    return output


def check_together(outputs: tuple[Output, ...]) -> None:
    """``Usage`` where outputs exclude each other."""
    if sum(output.dest == STDOUT for output in outputs) > 1:
        raise Usage("several outputs go to standard output", "give all but one a dest")
    places = [output.dest for output in outputs if output.dest]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice is not None:
        raise Usage(f"several outputs go to {twice!r}", "give each a dest of its own")


def check_annotations(outputs: tuple[Output, ...], annotations: tuple[Annotation, ...], *, has_index: bool) -> None:
    """``Invalid`` for annotations of an index where the result is none, and of an image where there is none."""
    every = (*annotations, *(each for output in outputs for each in output.annotations))
    if every and not any(output.has_image for output in outputs):
        raise Invalid(f"annotation {every[0].key!r}: no output is an image", "add --output type=image")
    if not has_index:
        for each in every:
            if each.level != "manifest":
                raise Invalid(
                    f"annotation {each.key!r}: there is no {each.level.partition('-')[0]} that could have it"
                    if each.level.startswith("index")
                    else f"annotation {each.key!r}: an image alone has no descriptor",
                    "build for several --platform, or annotate the manifest",
                )
