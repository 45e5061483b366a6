"""The graph of a build: steps that make trees, and what each stands on. Pure.

A step is a value without place, time or name: two stages that do the same from the same share it. ``Vertex`` adds what
people need (a label, the source). Inputs are indices of earlier vertices, so the order of ``Graph.vertices`` is one
in which everything can run; the *tree* of a vertex is what the step leaves. ``lowering`` makes graphs of Dockerfiles,
``keys`` says when two steps' results are the same, ``solver`` runs what is not known.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from bennu.build.mounts import BindMount, CacheMount, Mount
from bennu.build.remotes import GitReference
from bennu.digest import Digest
from bennu.dockerfile.source import Span
from bennu.dockerfile.warning import Warning  # noqa: A004 - the word of the Dockerfile reference
from bennu.errors import NotFound
from bennu.oci.image_config import ImageConfig

Network = Literal["default", "none", "host"]
Security = Literal["sandbox", "insecure"]

SCRIPTS: Final = "/dev/pipes"
"""The directory in which a RUN finds its script; the history of Docker's images names it."""


class InlineFile(msgspec.Struct, frozen=True):
    """A file whose content stands in the Dockerfile (a heredoc)."""

    name: str
    content: str


class Base(msgspec.Struct, frozen=True, tag=True):
    """The tree of an image of the store. ``chain`` is the chain_id of its top layer; ``manifest`` finds it there."""

    chain: Digest
    manifest: Digest


class Local(msgspec.Struct, frozen=True, tag=True):
    """A directory of whoever builds: the build context, whose name is empty, or a named one.

    It is no tree of the store and has no identity: what reads from it is known by the content that it takes.
    """

    name: str = ""


CONTENT: Final = "/content"
"""What an ``Excerpt`` calls the file or directory that it holds."""


class Excerpt(msgspec.Struct, frozen=True, tag=True):
    """What a directory of whoever builds has at ``path``, as a tree of its own, under the name ``CONTENT``.

    A RUN that mounts it gets exactly the files that it is known by, and none that ``.dockerignore`` leaves out.
    """

    vertex: int
    path: str


class Ulimit(msgspec.Struct, frozen=True):
    """A resource limit: ``name`` as in ``nofile``; -1 is unlimited."""

    name: str
    soft: int
    hard: int


class Surroundings(msgspec.Struct, frozen=True):
    """What a build gives to each of its RUNs: lines of /etc/hosts (name, address), limits, the size of /dev/shm."""

    hosts: tuple[tuple[str, str], ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    shm_bytes: int | None = None


class Run(msgspec.Struct, frozen=True, tag=True):
    """A process on the tree of ``parent`` (None: an empty tree), whose changes are the result.

    ``arguments`` are complete (a shell form with its shell in front), ``environment`` holds ``K=V`` in order: that of
    the image so far, then the build arguments in force, and no proxy variable. ``proxies`` are predefined ARGs that
    were given: they reach the process and count for nothing. ``user`` is a USER specification, ``directory``
    absolute. ``script`` is a heredoc with a ``#!`` line: an executable
    file in ``SCRIPTS`` while the process runs. ``security`` ``insecure`` is a process with every privilege.
    ``declared`` names the variables that are build arguments, for people. ``platform``: what its programs are for,
    where that is another one than is built on.
    """

    parent: int | None
    arguments: tuple[str, ...]
    environment: tuple[str, ...]
    directory: str = "/"
    user: str = ""
    network: Network = "default"
    script: InlineFile | None = None
    proxies: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    security: Security = "sandbox"
    platform: str = ""
    around: Surroundings = Surroundings()
    declared: tuple[str, ...] = ()


class Source(msgspec.Struct, frozen=True):
    """One source of a COPY: ``path`` is below the root of the vertex's tree, wildcards as in Go's filepath.Match.

    ``below`` (``--parents``): what matches this pattern below ``path``, with its directories. ``is_literal``: a file
    whose name has no wildcards. ``unpack``: where it is an archive, what is in it (ADD).
    """

    vertex: int
    path: str
    below: str | None = None
    is_literal: bool = False
    unpack: bool = False


class Copy(msgspec.Struct, frozen=True, tag=True):
    """Files of other vertices, in the order of ``sources``, put into the tree of ``parent``.

    ``destination`` is absolute and keeps a trailing slash. ``chown`` and ``chmod`` are as written, expanded; names are
    looked up in the parent's tree. ``link``: where the parent is another one, its layer may serve that was made before.
    """

    parent: int | None
    sources: tuple[Source, ...]
    destination: str
    inline: tuple[InlineFile, ...] = ()
    chown: str | None = None
    chmod: str | None = None
    exclude: tuple[str, ...] = ()
    link: bool = False


class Fetch(msgspec.Struct, frozen=True, tag=True):
    """A file at a URL, as a tree that holds nothing else, under ``name``, mode 0600. Its content may be known
    beforehand: ``checksum``.
    """

    url: str
    name: str
    checksum: Digest | None = None


class GitTree(msgspec.Struct, frozen=True, tag=True):
    """The files of a place in a Git repository, with its ``.git`` where it is kept."""

    reference: GitReference
    keep_git_dir: bool = False


RemoteSource = Fetch | GitTree
"""What is elsewhere: its identity is what it resolves to."""


class MakeDirectory(msgspec.Struct, frozen=True, tag=True):
    """WORKDIR: a directory and its parents, mode 0755, made where missing.

    What is made belongs to ``user``, the USER specification in force; empty is root.
    """

    parent: int | None
    path: str
    user: str = ""


Step = Base | Local | Excerpt | Fetch | GitTree | Run | Copy | MakeDirectory


def parent_of(step: Step) -> int | None:
    """The vertex that a step stands on: its tree is where the step begins."""
    return step.parent if isinstance(step, Run | Copy | MakeDirectory) else None


def reads_of(step: Step) -> tuple[int, ...]:
    """The vertices that a step takes files from, each once, in the order in which it names them."""
    match step:
        case Copy():
            found: list[int | None] = [source.vertex for source in step.sources]
        case Run():
            found = [mount.vertex for mount in step.mounts if isinstance(mount, BindMount | CacheMount)]
        case Excerpt():
            found = [step.vertex]
        case _:
            found = []
    return tuple(dict.fromkeys(vertex for vertex in found if vertex is not None))


class Vertex(msgspec.Struct, frozen=True):
    """A step with what people know it by. ``label``: ``[web 3/7] RUN make``. ``span`` None for a base image."""

    step: Step
    label: str
    span: Span | None = None

    @property
    def inputs(self) -> tuple[int, ...]:
        """The vertices that the step needs: what it stands on, then what it reads."""
        parent = parent_of(self.step)
        reads = reads_of(self.step)
        return reads if parent is None else (parent, *(each for each in reads if each != parent))


class Graph:
    """Vertices in an order in which they can run; equal steps are one vertex."""

    def __init__(self) -> None:
        self.vertices: list[Vertex] = []
        self._known: dict[Step, int] = {}

    def add(self, step: Step, label: str, span: Span | None = None) -> int:
        """The index of the vertex for a step: a new one, or the one that is there."""
        index = self._known.get(step)
        if index is None:
            index = len(self.vertices)
            self.vertices.append(Vertex(step, label, span))
            self._known[step] = index
        return index

    def needed(self, result: int | None) -> tuple[int, ...]:
        """The vertices that a result depends on, itself included, in order."""
        found: set[int] = set()
        todo = [] if result is None else [result]
        while todo:
            index = todo.pop()
            if index not in found:
                found.add(index)
                todo += self.vertices[index].inputs
        return tuple(sorted(found))

    def way(self, result: int | None) -> list[int]:
        """The steps that made a result's own layers, the lowest first: the way from its base to it."""
        steps: list[int] = []
        while result is not None and not isinstance(self.vertices[result].step, Base):
            steps.append(result)
            result = parent_of(self.vertices[result].step)
        return steps[::-1]

    def steps(self, result: int | None) -> tuple[int, ...]:
        """What is needed without the directories of whoever builds: what people call the steps of a build."""
        return tuple(each for each in self.needed(result) if not isinstance(self.vertices[each].step, Local))


class BaseImage(msgspec.Struct, frozen=True):
    """What lowering has to know of an image that FROM or ``COPY --from`` names. ``chain`` None: it has no layers."""

    manifest: Digest
    chain: Digest | None
    config: ImageConfig

    @property
    def layers(self) -> int:
        """How many layers it has."""
        return len(self.config.diff_ids)


class Lowered(msgspec.Struct, frozen=True):
    """A Dockerfile as a graph: the vertex whose tree is the result (None: no layer at all) and its configuration.

    ``config.history`` has one entry an instruction, ``empty_layer`` where it made none; ``rootfs`` is left to the
    store. Every vertex on the way from the base to the result is one layer, in the history's order. ``stages`` has each
    stage's name (in lower case, or empty) and the vertices of its instructions. The base image has ``inherited``
    layers.
    """

    graph: Graph
    result: int | None
    config: ImageConfig
    warnings: tuple[Warning, ...] = ()
    stages: tuple[tuple[str, frozenset[int]], ...] = ()
    inherited: int = 0

    def vertices_of(self, stages: Iterable[str]) -> frozenset[int]:
        """The steps that stand in stages, given by name (in any case) or number. ``NotFound`` names the stages."""
        known = {str(number): own for number, (_, own) in enumerate(self.stages)}
        known |= {name: own for name, own in self.stages if name}
        wanted = [each.lower() for each in stages]
        for each in wanted:
            if each not in known:
                names = ", ".join(name or str(number) for number, (name, _) in enumerate(self.stages))
                raise NotFound(f"stage {each!r} is not in the Dockerfile", f"its stages are {names}")
        return frozenset[int]().union(*(known[each] for each in wanted))
