"""What the embedded engine's survey judges without a host: who belongs, what is expected, what was altered."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bennu.compose.model import Deploy, Mount, Resources, Service, Ulimit
from bennu.deploy.drift.comparison import Record, compute
from bennu.engine.embedded import expecting
from bennu.engine.embedded.intruders import Household, households, judged
from bennu.engine.embedded.surveyed_replicas import Look, facts
from bennu.engine.embedded.surveyed_store import differences
from bennu.engine.sets import SetSpec
from bennu.engine.survey import Survey
from bennu.host.listing import Item
from bennu.host.tasks import MountEntry, Namespaces, Task
from bennu.oci.image_config import ContainerConfig
from bennu.runtime.interior import Interior, mount_words, mounts
from bennu.runtime.spec import Limits
from bennu.runtime.users import User

HELD = 0xA80425FB


def task(pid: int, parent: int, **fields: object) -> Task:
    whole = {
        "pid": pid, "parent": parent, "name": "x", "started": pid, "outside": False, "uid": 0, "gid": 0, "groups": (),
        "bounding": HELD, "effective": HELD, "no_new_privileges": True, "seccomp": 2, **fields,
    }  # fmt: skip
    return Task(**whole)


def home(*tasks: Task, inhabitants: tuple[Task, ...] = ()) -> Household:
    return Household(10, {each.pid: each for each in tasks}, {each.pid: each for each in inhabitants}, ())


INIT = task(10, 2)


def test_a_service_and_its_children_belong():
    assert judged(home(INIT, task(11, 10), task(12, 11), task(13, 10, uid=33, effective=0))) == {}


@pytest.mark.parametrize(
    ("stranger", "reason"),
    [
        (task(20, 5), "not started by its first process"),  # the runtime's exec is its parent
        (task(20, 1), "not started by its first process"),  # or was
        (task(20, 10, outside=True), "left behind by one that came from outside"),
        (task(20, 10, seccomp=0), "less confined than its first process"),
        (task(20, 10, no_new_privileges=False), "less confined than its first process"),
        (task(20, 10, bounding=HELD | 1 << 21), "has capabilities that its first process cannot give"),
    ],
)
def test_strangers(stranger, reason):
    assert judged(home(INIT, task(11, 10), stranger)) == {20: reason}
    # in its process table and not in its control group, it is one as well
    assert judged(home(INIT, inhabitants=(INIT, stranger))) == {20: reason}


def test_what_a_stranger_starts_is_one():
    assert judged(home(INIT, task(20, 5), task(21, 20))).keys() == {20, 21}


def test_a_first_process_without_confinement_is_the_measure():
    loose = INIT._replace(no_new_privileges=False, seccomp=0, bounding=(1 << 41) - 1)
    assert judged(home(loose, task(11, 10, no_new_privileges=False, seccomp=0, bounding=(1 << 41) - 1))) == {}


def test_an_ended_first_process_judges_nobody():
    assert judged(home(task(20, 5))) == {}


def test_households_by_namespaces():
    everywhere = {
        1: Namespaces(1, 1, 1), 10: Namespaces(5, 6, 7), 20: Namespaces(5, 6, 7), 30: Namespaces(1, 6, 1),
        31: Namespaces(5, 1, 1), 40: Namespaces(8, 6, 9), 50: Namespaces(2, 1, 1),
    }  # fmt: skip
    import os

    everywhere[os.getpid()] = Namespaces(1, 1, 1)
    found = households({10: (10,)}, everywhere, known={10, 40})
    assert found[10].guests == (30, 31)  # 40 is another container's that shares the network
    assert households({99: ()}, everywhere, known=()) == {}


# what is expected


def spec(**fields: object) -> SetSpec:
    service = Service(name="web", image="web:v1", **fields)
    return SetSpec(id="web-1", project="shop", image="sha256:1", image_name="web:v1", service=service)


CONFIG = ContainerConfig(env=("PATH=/bin", "A=image"), cmd=("serve",), volumes={"/cache": {}})


def expected(**fields: object) -> expecting.Expected:
    return expecting.expected(spec(**fields), 2, CONFIG, User(33, 34), network="shop_default")


def test_what_a_set_asks_for():
    want = expected(environment={"A": "1"}, ulimits={"nofile": Ulimit(soft=1, hard=2)})
    variables = expecting.environment(want.process)
    assert variables.keys() == {"PATH", "A", "HOSTNAME", "HOME"}
    assert variables["A"] == expecting.disguised("1")
    assert expecting.rlimits(want.process, {"Max open files": "9", "Max cpu time": "unlimited"}) == {
        "Max open files": "2",
        "Max cpu time": "unlimited",
    }
    assert want.options.hostname == "web.2"
    assert {mount.target for mount in want.options.mounts} == {"/tmp", "/run", "/var/tmp", "/cache"}


def test_limits_as_the_control_groups_have_them():
    given = {"memory": "max", "cpu": "max 100000", "pids": "max", "cpus": "0-1"}
    assert expecting.limits(Limits(), given) == given
    assert expecting.limits(Limits(memory_bytes=10_000, cpus=0.5, pids=7), given) == {
        "memory": "8192",
        "cpu": "50000 100000",
        "pids": "7",
        "cpus": "0-1",
    }
    assert expecting.limits(Limits(memory_bytes=10_000), {}) == {}  # a host without that controller


def test_mounts_with_the_access_that_the_set_gives():
    want = expected(mounts=(Mount(type="bind", target="/conf", source="/etc/x", read_only=True),))
    given = {
        "/": "overlay writable", "/tmp": "tmpfs writable nosuid nodev", "/proc": "proc writable nosuid",
        "/conf": "ext4 writable nosuid nodev of /etc/x", "/run": "tmpfs writable nosuid nodev noexec",
        "/var/tmp": "tmpfs writable nosuid nodev noexec",
    }  # fmt: skip
    assert expecting.mounts(want.options, given) == {
        "/": "overlay read-only", "/tmp": "tmpfs writable nosuid nodev noexec", "/proc": "proc writable nosuid",
        "/conf": "ext4 read-only nosuid nodev of /etc/x", "/run": "tmpfs writable nosuid nodev noexec",
        "/var/tmp": "tmpfs writable nosuid nodev noexec", "/cache": "a volume",
    }  # fmt: skip


def test_mounts_in_words():
    entry = MountEntry("0:1", "/", "/tmp", ("rw", "nosuid", "noexec"), "tmpfs", "x", False)
    assert mount_words(entry) == "tmpfs writable nosuid noexec"
    bind = entry._replace(root="/srv/x//deleted", target="/x", options=("ro",), kind="ext4", is_readonly_below=True)
    assert mount_words(bind) == "ext4 read-only of /srv/x"
    below = entry._replace(options=("rw",), is_readonly_below=True)
    assert mount_words(below) == "tmpfs writable (of a read-only file system)"
    assert mounts([entry, entry]) == {"/tmp": mount_words(entry), "/tmp (2)": mount_words(entry)}


# one replica


def groups(**changed: dict[str, str]) -> dict[str, dict[str, str]]:
    return {
        "hostname": {"hostname": "web.2"},
        "mount": {"/": "overlay read-only", **dict.fromkeys(("/tmp", "/run", "/var/tmp"), SCRATCH), "/cache": VOLUME},
        "limit": {"memory": "max", "cpu": "max 100000", "pids": "max"},
        "rlimit": {"Max open files": "9"},
        **{kind: {} for kind in ("interface", "address", "route", "firewall", "device", "sysctl", "etc", "file")},
        "scratch": {},
        **changed,
    }


TOOL = {"/tmp/x": "file 0755 0:0"}
SCRATCH = "tmpfs writable nosuid nodev noexec"
VOLUME = "ext4 writable nosuid nodev of /volumes/x"


def look(want: expecting.Expected, **fields: object) -> Look:
    before = Interior(pid=10, started=10, groups=groups())
    record = SimpleNamespace(options=want.options, manifest="sha256:1")
    whole = {
        "container": SimpleNamespace(record=record, status=SimpleNamespace(conmon_pid=9)),
        "image": "sha256:1", "interior": before, "baseline": before,
        "init": task(10, 2, uid=33, gid=34, bounding=HELD, effective=0), "uids": frozenset({33}),
        "environment": dict(item.split("=", 1) for item in want.process.env), "words": want.process.args,
        "oom_score_adj": "0", "hosts": "", "sources": {}, "groups": {}, "intruders": {}, "guests": {}, "settled": 100.0,
        **fields,
    }  # fmt: skip
    return Look(**whole)


def drifts(want: expecting.Expected, **fields: object) -> set[tuple[str, str]]:
    """What is found in ``web.2`` that has these, beside a companion that has not."""
    every = [*facts("web.1", "web-1", want, look(want)), *facts("web.2", "web-1", want, look(want, **fields))]
    found = compute(Survey(project="shop", taken=1000.0, facts=tuple(every)), Record())
    return {(one.kind, one.field) for one in found if one.subject == "web.2"}


def interior(since: dict[str, dict[str, float]] | None = None, owners: dict[str, int] | None = None, **changed):
    return Interior(pid=10, started=10, groups=groups(**changed), since=since or {}, owners=owners or {})


def test_untouched_replicas():
    want = expected()
    every = [*facts("web.1", "web-1", want, look(want)), *facts("web.2", "web-1", want, look(want))]
    assert compute(Survey(project="shop", taken=1000.0, facts=tuple(every)), Record()) == ()


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"words": ("nginx: master process",), "environment": None}, set()),
        ({"environment": {"A": "2"}}, {("environment", one) for one in ("A", "PATH", "HOSTNAME", "HOME")}),
        ({"init": task(10, 2, uid=0, gid=34, effective=0)}, {("user", "uid")}),
        ({"init": task(10, 2, uid=33, gid=34, bounding=HELD | 1 << 21)}, {("capability", "CAP_SYS_ADMIN")}),
        ({"init": task(10, 2, uid=33, gid=34, bounding=0)}, set()),  # it has given them up
        ({"init": task(10, 2, uid=33, gid=34, no_new_privileges=False)}, {("privileges", "no_new_privs")}),
        ({"init": task(10, 2, uid=33, gid=34, seccomp=0)}, {("seccomp", "system calls")}),
        ({"oom_score_adj": "-5"}, {("oom", "oom_score_adj")}),
        ({"oom_score_adj": "5"}, {("oom", "oom_score_adj")}),
        ({"groups": {"pid 12": "x is in /"}}, {("control-group", "pid 12")}),
        ({"intruders": {"pid 20": ("sh", 5.0)}}, {("process", "pid 20")}),
        ({"guests": {"pid 20": ("sh", 5.0)}}, {("guest", "pid 20")}),
        ({"interior": interior(rlimit={"Max open files": "99"})}, {("rlimit", "Max open files")}),
        ({"interior": interior(rlimit={"Max open files": "1"})}, {("rlimit", "Max open files")}),
        ({"interior": interior(file={"/etc/x": "file"})}, {("file", "/etc/x")}),
        ({"interior": interior(sysctl={"net.new": "1"})}, set()),  # a module of the kernel's has brought it
        ({"interior": interior({"scratch": {"/tmp/x": 200.0}}, scratch=TOOL)}, {("scratch", "/tmp/x")}),
        ({"interior": interior({"scratch": {"/tmp/x": 50.0}}, scratch=TOOL)}, set()),  # it came before it was ready
        ({"interior": interior({"owner": {"/tmp/x": 200.0}}, {"/tmp/x": 7})}, {("scratch-owner", "/tmp/x")}),
        ({"interior": interior({"owner": {"/tmp/x": 200.0}}, {"/tmp/x": 33})}, set()),
        ({"sources": {"/conf": ("/etc/x (inode 2)", "/etc/x (inode 1)")}}, {("source", "/conf")}),
        ({"image": "sha256:2"}, {("image", "image")}),
    ],
)  # fmt: skip
def test_what_was_changed_in_one_replica(fields, wanted):
    assert drifts(expected(), **fields) == wanted


def test_what_a_service_with_more_rights_may_do():
    routes = interior(route={"default": "via 10.0.0.1"}, mount={**groups()["mount"], "/mnt": "tmpfs writable"})
    assert drifts(expected(), interior=routes) == {("route", "default"), ("mount", "/mnt")}
    want = expected(cap_add=("NET_ADMIN", "SYS_ADMIN"))
    same = look(want, interior=routes)
    every = [*facts("web.1", "web-1", want, same), *facts("web.2", "web-1", want, same)]
    assert compute(Survey(project="shop", taken=1.0, facts=tuple(every)), Record()) == ()


def test_a_writable_root_takes_data_and_no_programs():
    want = expected(read_only=False)
    root = {**groups()["mount"], "/": "overlay writable"}
    for file, wanted in (
        ({"/var/x": "file 0644 0:0, 1 bytes"}, set()),
        ({"/usr/x": "file 0755 0:0, 1 bytes"}, {("program", "/usr/x")}),
        ({"/bin/ls": "removed"}, {("program", "/bin/ls")}),
        ({"/dev/x": "block device 0600 0:0 8:0"}, {("program", "/dev/x")}),
    ):
        times = {"file": dict.fromkeys(file, 200.0)}
        assert drifts(want, interior=interior(times, file=file, mount=root)) - _unmounted() == wanted


def _unmounted() -> set[tuple[str, str]]:
    return {("mount", target) for target in ("/tmp", "/run", "/var/tmp")} | {("root", "/")}


def test_limits_of_the_set():
    want = expected(deploy=Deploy(limits=Resources(memory_bytes=1 << 20)))
    every = facts("web.2", "web-1", want, look(want))
    (found,) = compute(Survey(project="shop", taken=1.0, facts=tuple(every)), Record())
    assert (found.kind, found.field, found.want, found.have) == ("limit", "memory", "1048576", "max")


# a layer


def item(path: str, **fields: object) -> Item:
    whole = {"mode": 0o100644, "owner": "0:0", "size_bytes": 3, "inode": 7, "mtime_ns": 10**9, "ctime_ns": 10**9}
    return Item(path, **{**whole, **fields})


def test_what_is_another_in_a_layer():
    top = item("/", mode=0o40755)
    before = [top, item("/a"), item("/b"), item("/c")]
    now = [top._replace(mtime_ns=5 * 10**9, ctime_ns=5 * 10**9), item("/a", ctime_ns=5 * 10**9), item("/c"), item("/d")]
    want, have, since = differences(before, now)
    assert want.keys() == {"/a", "/b"}  # that something came or went says enough of the directory
    assert have.keys() == {"/a", "/d"}
    assert want["/a"] != have["/a"]
    assert since["/a"] == 5.0
    assert differences(before, before) == ({}, {}, {})
