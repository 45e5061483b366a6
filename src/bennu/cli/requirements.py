"""What bennu needs of a host, why, and the command that mends what is missing. Pure: a survey in, findings out.

``REQUIREMENTS`` of programs is a table; the rest is one small function a fact. A finding is ``ok``, ``missing`` (bennu
cannot do its main work) or ``weak`` (something named works less well or not at all). The facts come from
``bennu.host.survey``; ``bennu.cli.doctor`` prints the findings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from bennu.cli import human

if TYPE_CHECKING:
    from bennu.host.survey import Program, State, Survey

Verdict = Literal["ok", "missing", "weak"]

PYTHON: Final = (3, 11)
LOWERDIR_PLUS: Final = (6, 5)
CONTROLLERS: Final = ("cpu", "memory", "pids")
INOTIFY_INSTANCES: Final = 128
INOTIFY_WATCHES: Final = 8192
FREE_BYTES: Final = 2_000_000_000
# Upper directories need whiteouts, xattrs and d_type (Documentation/filesystems/overlayfs.rst, "Upper and lower").
UNFIT_FILESYSTEMS: Final = frozenset({"overlay", "nfs", "nfs4", "cifs", "vfat", "9p", "fuse.sshfs"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``mend`` is a command, or empty where there is nothing to mend."""

    name: str
    verdict: Verdict
    found: str
    why: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class _Wanted:
    package: str
    why: str
    is_required: bool = True


PROGRAMS: Final = {
    "conmon": _Wanted("conmon", "holds a container's output and exit status while no bennu runs"),
    "haproxy": _Wanted("haproxy", "is the switch that moves the traffic between sets"),
    "nft": _Wanted("nftables", "carries published UDP ports and lets containers out"),
    "ip": _Wanted("iproute2", "makes bridges and addresses"),
    "conntrack": _Wanted("conntrack", "flushes UDP flows at a switch", is_required=False),
    "tcpdump": _Wanted("tcpdump", "captures traffic for bennu tap", is_required=False),
    "mmdebstrap": _Wanted("mmdebstrap", "makes base images for bennu image bootstrap", is_required=False),
    "git": _Wanted("git", "fetches Git repositories for ADD and for build contexts", is_required=False),
    "ssh": _Wanted("openssh-client", "reaches Git repositories over SSH", is_required=False),
}


def judge(survey: Survey) -> tuple[Finding, ...]:
    """Every finding, in the order in which a person would mend them."""
    return tuple(_findings(survey))


def _findings(survey: Survey) -> Iterator[Finding]:
    yield _python(survey)
    yield _user(survey)
    yield _kernel(survey)
    yield _runtime(survey)
    for name, wanted in PROGRAMS.items():
        yield _program(name, wanted, survey.programs[name])
    yield from _cgroups(survey)
    yield _user_namespaces(survey)
    yield _ip_forward(survey)
    yield _inotify(survey)
    yield _seccomp(survey)
    yield from _state(survey.state)


def _python(survey: Survey) -> Finding:
    found = ".".join(map(str, survey.python))
    why = f"bennu is written for Python {'.'.join(map(str, PYTHON))} or later"
    verdict: Verdict = "ok" if survey.python >= PYTHON else "missing"
    return Finding("python", verdict, found, why, "" if verdict == "ok" else _install("python3"))


def _user(survey: Survey) -> Finding:
    why = "mounts, network namespaces and cgroups are made by root"
    if survey.is_root:
        return Finding("user", "ok", "root", why)
    return Finding("user", "missing", "not root", why, "sudo bennu doctor")


def _kernel(survey: Survey) -> Finding:
    why = "images of more than some 40 layers need lowerdir+ of overlayfs (Linux 6.5)"
    numbers = tuple(int(part) for part in survey.kernel.split("-")[0].split(".")[:2] if part.isdigit())
    if numbers >= LOWERDIR_PLUS:
        return Finding("kernel", "ok", survey.kernel, why)
    return Finding("kernel", "weak", survey.kernel, why, _install("-t bookworm-backports linux-image-amd64"))


def _runtime(survey: Survey) -> Finding:
    crun, runc = survey.programs["crun"], survey.programs["runc"]
    why = "runs containers (crun is the faster of the two)"
    if crun is None and runc is None:
        return Finding("crun or runc", "missing", "neither", why, _install("crun"))
    found = ", ".join(program.version or program.path for program in (crun, runc) if program)
    if crun is not None and survey.cgroups.hierarchy == "hybrid":
        why += "; on this hybrid cgroup hierarchy crun runs in a mount namespace of its own, without the v2 part"
    if crun is None:
        return Finding("crun or runc", "weak", found, why, _install("crun"))
    return Finding("crun or runc", "ok", found, why)


def _program(name: str, wanted: _Wanted, program: Program | None) -> Finding:
    if program is None:
        verdict: Verdict = "missing" if wanted.is_required else "weak"
        return Finding(name, verdict, "not installed", wanted.why, _install(wanted.package))
    if not program.is_on_path:
        directory = program.path.rpartition("/")[0]
        return Finding(name, "missing", f"{program.path} is not on PATH", wanted.why, f"export PATH=$PATH:{directory}")
    return Finding(name, "ok", program.version or program.path, wanted.why)


def _cgroups(survey: Survey) -> Iterator[Finding]:
    hierarchy, controllers = survey.cgroups.hierarchy, survey.cgroups.controllers
    why = "limits and stops whole containers"
    if hierarchy == "none":
        yield Finding("cgroups", "missing", "no hierarchy", why, "mount -t cgroup2 none /sys/fs/cgroup")
        return
    yield Finding("cgroups", "ok", hierarchy, why)
    # The freezer of cgroup v2 is no controller: every cgroup has cgroup.freeze.
    needed = (*CONTROLLERS, *(("freezer",) if hierarchy != "v2" else ()))
    absent = [name for name in needed if name not in controllers]
    found = ", ".join(sorted(controllers)) or "none"
    why = f"{', '.join(needed)}: limits, and freezing kept sets"
    if absent:
        mend = "add cgroup_enable=memory to the kernel's command line" if absent == ["memory"] else ""
        yield Finding("cgroup controllers", "weak", f"{found}; without {', '.join(absent)}", why, mend)
    else:
        yield Finding("cgroup controllers", "ok", found, why)


def _user_namespaces(survey: Survey) -> Finding:
    why = "root of a container is nobody on the host"
    if survey.user_namespaces is None:
        return Finding("user namespaces", "weak", "not in this kernel", why)
    if survey.user_namespaces == 0:
        return Finding("user namespaces", "weak", "none allowed", why, "sysctl -w user.max_user_namespaces=16384")
    return Finding("user namespaces", "ok", f"up to {survey.user_namespaces}", why)


def _ip_forward(survey: Survey) -> Finding:
    why = "containers reach the network through the host"
    if survey.ip_forward:
        return Finding("ip_forward", "ok", "on", why)
    return Finding("ip_forward", "weak", "off", why, "sysctl -w net.ipv4.ip_forward=1")


def _inotify(survey: Survey) -> Finding:
    why = "conmon and watchers of files take one instance each"
    found = f"{survey.inotify_instances} instances, {survey.inotify_watches} watches"
    for value, least, key in (
        (survey.inotify_instances, INOTIFY_INSTANCES, "max_user_instances"),
        (survey.inotify_watches, INOTIFY_WATCHES, "max_user_watches"),
    ):
        if value is not None and value < least:
            return Finding("inotify", "weak", found, why, f"sysctl -w fs.inotify.{key}={least * 4}")
    return Finding("inotify", "ok", found, why)


def _seccomp(survey: Survey) -> Finding:
    why = "the default seccomp profile, which forbids system calls that no container needs"
    if survey.has_seccomp_profile:
        return Finding("seccomp profile", "ok", "installed", why)
    return Finding("seccomp profile", "missing", "not installed", why, _install("golang-github-containers-common"))


def _state(state: State) -> Iterator[Finding]:
    why = "images, containers and volumes are kept there"
    if not state.is_writable:
        yield Finding(
            "state directory", "missing", f"{state.existing} is not writable", why, "set --root or BENNU_ROOT"
        )
    elif state.filesystem in UNFIT_FILESYSTEMS or state.overlay_error:
        reason = state.overlay_error or "no upper directory of an overlay can be there"
        found = f"{state.root} on {state.filesystem}: {reason}"
        yield Finding(
            "state directory", "missing", found, why, "set --root or BENNU_ROOT to a directory on ext4 or xfs"
        )
    else:
        yield Finding("state directory", "ok", f"{state.root} on {state.filesystem}", why)
    enough = state.free_bytes >= FREE_BYTES
    found = f"{human.size(state.free_bytes)} free"
    why = f"a base image and a build take {human.size(FREE_BYTES)}"
    yield Finding("free space", "ok" if enough else "weak", found, why, "" if enough else "bennu gc")


def _install(package: str) -> str:
    return f"apt-get install {package}"
