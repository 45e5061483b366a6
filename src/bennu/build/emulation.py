"""RUNs for another machine: refused before anything runs, unless this host runs such programs."""

from __future__ import annotations

from collections.abc import Iterable

from bennu.build.graph import Graph, Run
from bennu.errors import Unsupported
from bennu.oci.platform import Platform


def check_runs(graph: Graph, needed: Iterable[int], host: Platform) -> None:
    """``Unsupported`` at the first RUN whose programs this host does not run."""
    for index in sorted(needed):
        vertex = graph.vertices[index]
        step = vertex.step
        if not isinstance(step, Run) or not step.platform:
            continue
        from bennu.host.binfmt import can_run

        if can_run(step.platform.split("/")[1], host.architecture):
            continue
        message = f"RUN: its programs are for {step.platform}, and this host, {host}, has no emulator for that"
        hint = (
            "let a stage FROM --platform=$BUILDPLATFORM do it, or install an emulator: apt install qemu-user-static "
            "binfmt-support"
        )
        raise Unsupported(message, hint) if vertex.span is None else vertex.span.unsupported(message, hint)
