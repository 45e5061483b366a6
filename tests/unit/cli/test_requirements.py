"""What a host lacks: survey in, findings out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bennu.cli.requirements import PROGRAMS, Finding, judge
from bennu.host.survey import Cgroups, Program, State, Survey, find_program, observe, observe_cgroups, observe_state

V2 = frozenset({"cpu", "memory", "pids", "io"})
WHOLE = Survey(
    python=(3, 11, 2),
    kernel="6.12.1-amd64",
    is_root=True,
    programs={name: Program(f"/usr/bin/{name}", True, f"{name} 1") for name in ("crun", "runc", *PROGRAMS)},
    cgroups=Cgroups("v2", V2),
    user_namespaces=1000,
    ip_forward=True,
    inotify_instances=128,
    inotify_watches=65536,
    has_seccomp_profile=True,
    state=State(Path("/var/lib/bennu"), Path("/var/lib"), "ext4", 50_000_000_000, True, None),
)


def without(*names: str) -> Survey:
    return replace(WHOLE, programs={**WHOLE.programs, **dict.fromkeys(names)})


def finding(survey: Survey, name: str) -> Finding:
    return next(each for each in judge(survey) if each.name == name)


def test_a_whole_host_lacks_nothing():
    assert {each.verdict for each in judge(WHOLE)} == {"ok"}
    assert all(each.why and each.found and not each.mend for each in judge(WHOLE))


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_is_not_there_is_named_with_its_package(name: str):
    found = finding(without(name), name)
    assert found.verdict == ("missing" if PROGRAMS[name].is_required else "weak")
    assert found.mend == f"apt-get install {PROGRAMS[name].package}"


def test_one_of_the_two_runtimes_is_enough():
    assert finding(without("crun"), "crun or runc").verdict == "weak"
    assert finding(without("runc"), "crun or runc").verdict == "ok"
    assert finding(without("crun", "runc"), "crun or runc").verdict == "missing"


def test_a_program_outside_the_path_is_missing():
    programs = {**WHOLE.programs, "nft": Program("/usr/sbin/nft", False, "")}
    assert finding(replace(WHOLE, programs=programs), "nft").mend == "export PATH=$PATH:/usr/sbin"


@pytest.mark.parametrize(
    ("survey", "name", "verdict"),
    [
        (replace(WHOLE, python=(3, 10, 9)), "python", "missing"),
        (replace(WHOLE, is_root=False), "user", "missing"),
        (replace(WHOLE, kernel="6.1.0-30-amd64"), "kernel", "weak"),
        (replace(WHOLE, kernel="6.5"), "kernel", "ok"),
        (replace(WHOLE, cgroups=Cgroups("none", frozenset())), "cgroups", "missing"),
        (replace(WHOLE, cgroups=Cgroups("v2", V2 - {"memory"})), "cgroup controllers", "weak"),
        (replace(WHOLE, cgroups=Cgroups("v1", V2)), "cgroup controllers", "weak"),
        (replace(WHOLE, cgroups=Cgroups("hybrid", V2 | {"freezer"})), "cgroup controllers", "ok"),
        (replace(WHOLE, user_namespaces=0), "user namespaces", "weak"),
        (replace(WHOLE, user_namespaces=None), "user namespaces", "weak"),
        (replace(WHOLE, ip_forward=False), "ip_forward", "weak"),
        (replace(WHOLE, inotify_instances=8), "inotify", "weak"),
        (replace(WHOLE, inotify_watches=8), "inotify", "weak"),
        (replace(WHOLE, has_seccomp_profile=False), "seccomp profile", "missing"),
        (replace(WHOLE, state=replace(WHOLE.state, filesystem="overlay")), "state directory", "missing"),
        (replace(WHOLE, state=replace(WHOLE.state, overlay_error="Invalid argument")), "state directory", "missing"),
        (replace(WHOLE, state=replace(WHOLE.state, is_writable=False)), "state directory", "missing"),
        (replace(WHOLE, state=replace(WHOLE.state, free_bytes=1)), "free space", "weak"),
    ],
)
def test_each_lack_is_found(survey: Survey, name: str, verdict: str):
    assert finding(survey, name).verdict == verdict
    assert {each.name for each in judge(survey) if each.verdict != "ok"} <= {name}


LINE = "30 24 0:26 / {point} rw,relatime shared:4 - {kind} {kind} rw{options}"


def mounted(*mounts: tuple[str, str, str]) -> list[str]:
    return [LINE.format(point=point, kind=kind, options=options) for point, kind, options in mounts]


def test_the_cgroup_hierarchy_is_told_from_the_mounts(tmp_path: Path):
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    memory = (f"{tmp_path}/memory", "cgroup", ",memory")
    cpu = (f"{tmp_path}/cpu", "cgroup", ",cpu,cpuacct")
    systemd = (f"{tmp_path}/systemd", "cgroup", ",xattr,name=systemd")
    unified = (f"{tmp_path}/unified", "cgroup2", "")
    elsewhere = ("/mnt/cgroup", "cgroup2", "")
    assert observe_cgroups(tmp_path, mounted((str(tmp_path), "cgroup2", ""))) == Cgroups(
        "v2", frozenset({"cpu", "memory", "pids"})
    )
    v1 = frozenset({"cpu", "cpuacct", "memory"})
    assert observe_cgroups(tmp_path, mounted(memory, cpu, elsewhere)) == Cgroups("v1", v1)
    assert observe_cgroups(tmp_path, mounted(memory, cpu, systemd, unified)).hierarchy == "hybrid"
    assert observe_cgroups(tmp_path, mounted(elsewhere)) == Cgroups("none", frozenset())


def test_programs_are_found_by_the_path_given(tmp_path: Path):
    program = tmp_path / "crun"
    program.write_text("#!/bin/sh\necho crun 9; echo more\n")
    program.chmod(0o755)
    assert find_program("crun", str(tmp_path)) == Program(str(program), True, "crun 9")
    assert find_program("no-such-program-at-all", str(tmp_path)) is None


def test_a_state_directory_to_be_is_judged_by_its_parent(tmp_path: Path):
    state = observe_state(tmp_path / "a" / "b")
    assert state.existing == tmp_path
    assert state.is_writable
    assert state.free_bytes > 0
    assert list(tmp_path.iterdir()) == []


def test_this_host_can_be_surveyed(tmp_path: Path):
    survey = observe(tmp_path, "/usr/bin:/usr/sbin")
    assert survey.python >= (3, 11, 0)
    assert survey.state.filesystem != "unknown"
    assert len(judge(survey)) > 15
