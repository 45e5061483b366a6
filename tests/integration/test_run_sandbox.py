"""What a process finds around it: limits, mounts, privileges, users, volumes. Under crun and under runc."""

import contextlib
import ctypes
import os
from pathlib import Path

import pytest

from bennu.config import Settings
from bennu.errors import AlreadyExists, Conflict, Failed, Invalid, NotFound
from bennu.host import cgroups, syscalls
from bennu.host.namespaces import in_namespace, in_private_mounts
from bennu.runtime.options import MountOption
from bennu.runtime.spec import Limits, Rlimit
from tests.integration.run_world import eventually, world

pytestmark = pytest.mark.root


@pytest.fixture(params=["crun", "runc"])
def box(request, tmp_path):
    with world(Settings.from_environ({"BENNU_ROOT": str(tmp_path / "root"), "BENNU_RUNTIME": request.param})) as made:
        yield made


@pytest.fixture
def image(box):
    return box.image(files={"seed/one": "1", "seed/deep/two": "2"})


def status_field(text, name):
    return next(line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith(name + ":"))


def test_privileges(box, image):
    status = box.output(image, "cat", "/proc/self/status")
    assert int(status_field(status, "CapBnd"), 16) == 0xA80425FB  # Docker's fourteen
    assert int(status_field(status, "CapInh"), 16) == 0
    assert status_field(status, "Seccomp") == "2"
    assert status_field(status, "NoNewPrivs") == "0"
    status = box.output(image, "cat", "/proc/self/status", user="33", no_new_privileges=True, cap_drop=("ALL",))
    assert int(status_field(status, "CapBnd"), 16) == 0
    assert int(status_field(status, "CapEff"), 16) == 0
    assert status_field(status, "NoNewPrivs") == "1"
    status = box.output(image, "cat", "/proc/self/status", cap_add=("net_admin",), cap_drop=("ALL",), confined=False)
    assert int(status_field(status, "CapEff"), 16) == 1 << 12
    assert status_field(status, "Seccomp") == "0"


def test_kernel_paths(box, image):
    assert box.output(image, "sh", "-c", "cat /proc/kcore | wc -c") == "0\n"
    assert "Read-only" in box.output(image, "sh", "-c", "sh -c 'echo me > /proc/sys/kernel/hostname' 2>&1")
    assert box.output(image, "sh", "-c", "mount -t tmpfs x /tmp 2>/dev/null || echo refused") == "refused\n"
    assert box.output(image, "sh", "-c", "mknod /tmp/d b 8 0 && dd if=/tmp/d count=1 2>/dev/null || echo no") == "no\n"
    assert set(box.output(image, "ls", "/dev").split()) - {"core"} == {
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom",
        "zero",
    }  # fmt: skip


def test_limits(box, image):
    record = box.started(
        image, "sleep", "60", limits=Limits(memory_bytes=64 << 20, cpus=1.5, pids=50),
        rlimits=(Rlimit("RLIMIT_NOFILE", 100, 200),), oom_score_adj=77,
    )  # fmt: skip
    name = box.containers.place(record).cgroup
    read = lambda path: (cgroups.MOUNT / path).read_text().strip()
    if cgroups.version() == "v1":
        assert read(f"memory/{name}/memory.limit_in_bytes") == str(64 << 20)
        assert read(f"cpu/{name}/cpu.cfs_quota_us") == "150000"
        assert read(f"pids/{name}/pids.max") == "50"
    else:
        assert read(f"{name}/memory.max") == str(64 << 20)
        assert read(f"{name}/cpu.max") == "150000 100000"
        assert read(f"{name}/pids.max") == "50"
    pid = box.containers.status(record).pid
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert "Max open files            100                  200" in limits
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "77\n"


def test_memory_is_really_limited(box, image):
    record = box.started(image, "sh", "-c", "tail /dev/zero", limits=Limits(memory_bytes=16 << 20))
    assert box.containers.wait(record.id) == 137


def test_read_only_root_and_a_hold(box, image):
    record = box.started(image, "sleep", "60", readonly=True, mounts=(MountOption(type="tmpfs", target="/tmp"),))
    place, status = box.containers.place(record), box.containers.status(record)
    root = f"/proc/{status.pid}/root"
    with pytest.raises(OSError, match="Read-only"):
        Path(f"{root}/srv/x").touch()
    Path(f"{root}/tmp/x").touch()

    def writable():
        remount_and_bind = 32 | 4096
        assert ctypes.CDLL(None).mount(None, b"/", None, ctypes.c_ulong(remount_and_bind), None) == 0

    in_namespace(f"/proc/{status.pid}/ns/mnt", syscalls.CLONE_NEWNS, writable)
    Path(f"{root}/srv/x").touch()
    assert (place.upper / "srv/x").exists()


def test_what_a_container_writes_survives_a_stop_and_reaches_no_layer(box, image):
    record = box.started(image, "sh", "-c", "echo mine >> /seed/one; cat /seed/one")
    box.containers.wait(record.id)
    box.containers.start(record.id)
    box.containers.wait(record.id)
    assert box.containers.place(record).log.read_text().count("mine") == 3
    assert box.output(image, "cat", "/seed/one") == "1"


def test_own_files(box, image):
    out = box.output(image, "sh", "-c", "hostname; cat /etc/hostname /etc/hosts", hostname="me",
                     extra_hosts={"db": ("10.0.0.7",)})  # fmt: skip
    assert out.splitlines()[:2] == ["me", "me"]
    assert "10.0.0.7\tdb" in out
    assert "127.0.0.1\tlocalhost" in out
    assert box.output(image, "hostname", network="host").strip() == os.uname().nodename


def test_networks(box, image):
    assert box.output(image, "sh", "-c", "ip -o link | wc -l") == "1\n"
    assert box.output(image, "sh", "-c", "ip -o addr show lo | head -n1 | grep -c 127.0.0.1") == "1\n"
    out = box.output(image, "sh", "-c", "ip -o -4 addr show eth0; tail -n1 /etc/hosts", network=None)
    address = out.split()[3].split("/")[0]
    assert out.splitlines()[1].split()[0] == address
    assert box.containers.networks.owners() == frozenset()


def test_named_volumes(box, image):
    (box.settings.volumes).mkdir(parents=True, exist_ok=True)
    volume = MountOption(type="volume", source="data", target="/seed")
    box.output(image, "sh", "-c", "echo more > /seed/new", mounts=(volume,))
    assert box.output(image, "sh", "-c", "cat /seed/one /seed/deep/two /seed/new", mounts=(volume,)) == "12more\n"
    flags = box.output(image, "sh", "-c", "grep ' /seed ' /proc/self/mountinfo", mounts=(volume,)).split()[5]
    assert {"nosuid", "nodev", "noexec"} <= set(flags.split(","))
    record = box.create(image, "true", mounts=(volume,))
    with pytest.raises(Conflict):
        box.containers.volumes.remove("data")
    box.containers.remove(record.id, volumes=True)
    box.containers.volumes.remove("data")
    assert not (box.settings.volumes / "data").exists()
    with pytest.raises(NotFound):
        box.containers.volumes.remove("data")


def test_a_volume_takes_owner_and_mode_of_the_image(box):
    image = box.image("owned:1", files={"seed/one": "1"})
    directory = box.runtime.snapshots.directory(box.runtime.snapshots.stat(image.snapshot)) / "seed"
    os.chown(directory, 33, 26)
    os.chmod(directory, 0o2770)
    for source in ("filled", None):
        volume = MountOption(type="volume", source=source, target="/seed")
        assert box.output(image, "stat", "-c", "%u %g %a", "/seed", mounts=(volume,)) == "33 26 2770\n"


def test_a_filling_that_was_killed_begins_again(box, image):
    volume = box.containers.volumes.ensure("half")
    (volume.path / "rubbish").write_text("half a file")
    (volume.path.parent / "filling").touch()
    mounts = (MountOption(type="volume", source="half", target="/seed"),)
    assert box.output(image, "ls", "/seed", mounts=mounts).split() == ["deep", "one"]


def test_image_volumes_are_anonymous_and_go_with_the_container(box):
    image = box.image("vol:1", files={"seed/one": "1"}, volumes=("/seed", "/data"))
    own = MountOption(type="volume", source="own", target="/data")
    record = box.started(image, "sh", "-c", "cat /seed/one", mounts=(own,))
    assert box.containers.wait(record.id) == 0
    assert len(box.containers.volumes.walk()) == 2
    box.containers.remove(record.id, volumes=True)
    assert [volume.name for volume in box.containers.volumes.walk()] == ["own"]
    box.containers.volumes.remove("own")


def test_binds(box, image, tmp_path):
    source = tmp_path / "src"
    source.mkdir()
    (source / "f").write_text("host")
    bind = MountOption(type="bind", source=str(source), target="/data/deep")
    assert box.output(image, "sh", "-c", "cat /data/deep/f; echo new > /data/deep/g", mounts=(bind,)) == "host"
    assert (source / "g").read_text() == "new\n"
    closed = MountOption(type="bind", source=str(source), target="/data", readonly=True)
    assert "Read-only" in box.output(image, "sh", "-c", "touch /data/x 2>&1", mounts=(closed,))
    one = MountOption(type="bind", source=str(source / "f"), target="/etc/single")
    assert box.output(image, "cat", "/etc/single", mounts=(one,)) == "host"
    made = MountOption(type="bind", source=str(tmp_path / "made"), target="/data", create=True)
    box.output(image, "touch", "/data/x", mounts=(made,))
    assert (tmp_path / "made/x").exists()


def test_binds_of_single_files(box, image, tmp_path):
    (tmp_path / "file").write_text("here")
    for readonly in (True, False):
        mount = MountOption(type="bind", source=str(tmp_path / "file"), target="/new/place/file", readonly=readonly)
        command = "cat /new/place/file; sh -c 'echo x > /new/place/file' 2>&1"
        said = box.output(image, "sh", "-c", command, mounts=(mount,), readonly=True)
        assert said.startswith("here")
        assert ("Read-only" in said) == readonly
    assert (tmp_path / "file").read_text() == "x\n"


def test_mount_targets_never_leave_the_root(box, tmp_path):
    image = box.image("evil:1", files={"x": ""})
    tree = box.runtime.snapshots.directory(box.runtime.snapshots.stat(image.snapshot))
    outside = tmp_path / "outside"
    outside.mkdir()
    (tree / "trap").symlink_to(f"../../../../../../../../../..{outside}")
    (tree / "etc/hosts").symlink_to(outside / "hosts")
    mounts = (MountOption(type="tmpfs", target="/trap/in"), MountOption(type="volume", source="v", target="/trap/vol"))
    with contextlib.suppress(Failed, Invalid):  # refused is as good
        box.output(image, "true", mounts=mounts, working_dir="/trap/work")
    assert os.listdir(outside) == []


def test_tmpfs(box, image):
    mount = MountOption(type="tmpfs", target="/t", size_bytes=1 << 20, mode=0o750, uid=33, gid=26)
    out = box.output(image, "sh", "-c", "stat -c '%u %g %a' /t; df /t | tail -n1; grep ' /t ' /proc/self/mountinfo",
                     mounts=(mount,))  # fmt: skip
    owner, size, info = out.splitlines()
    assert owner == "33 26 750"
    assert size.split()[1] == "1024"
    assert {"nosuid", "nodev", "noexec"} <= set(info.split()[5].split(","))


def test_no_other_user_of_the_host_comes_near(box, image):
    record = box.started(image, "sleep", "60", env=("SECRET=x",))
    place = box.containers.place(record)
    for path in (place.bundle, place.directory, box.settings.run / "oneshot"):
        assert path.stat().st_mode & 0o077 == 0, path
    for state in place.runtime_state():
        if state.exists():
            assert state.parent.stat().st_mode & 0o077 == 0, state


def test_names_and_options_are_checked(box, image):
    box.create(image, "true", name="one.1")
    with pytest.raises(AlreadyExists):
        box.create(image, "true", name="one.1", mounts=(MountOption(type="volume", target="/a"),))
    assert box.containers.volumes.walk() == ()
    for name in ("", "a", "-a", "a b", "a/b"):
        with pytest.raises(Invalid):
            box.create(image, "true", name=name)
    twice = MountOption(type="tmpfs", target="/a")
    with pytest.raises(Invalid):
        box.create(image, "true", mounts=(twice, twice))


def test_init_reaps_and_forwards(box, image):
    script = "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done"
    record = box.started(image, "sh", "-c", script, init=True)
    eventually(lambda: "up" in box.containers.place(record).log.read_text())
    assert Path(f"/proc/{box.containers.status(record).pid}/comm").read_text() == "bennu-init\n"
    box.containers.stop(record.id, timeout_seconds=10)
    assert box.containers.status(record).exit_status == 5


def test_nothing_piles_up_where_a_hierarchy_is_hidden(box, image):
    box.output(image, "true")
    unified = cgroups.unified_beside_v1()
    if unified is not None:
        listed = in_private_mounts(lambda: os.listdir(unified), hide=(unified,))
        assert not [name for name in listed if name.startswith(f"bennu-{box.settings.key}-")]
