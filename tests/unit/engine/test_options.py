"""A replica's options: what its service asks for, with the fleet's defaults."""

from bennu.compose.model import Deploy, Mount, Resources, Service, Ulimit, Volume
from bennu.digest import digest_of
from bennu.engine.embedded.options import container_options, replica_name
from bennu.engine.sets import SetId, SetSpec
from bennu.runtime.options import ContainerOptions, MountOption
from bennu.runtime.spec import Limits, Rlimit


def options(**fields: object) -> ContainerOptions:
    spec = SetSpec(
        id=SetId("web-0123456789"),
        project="shop",
        image=digest_of(b"image"),
        image_name="web",
        service=Service(name="web", **fields),
        volumes={"data": Volume(name="shop_data")},
    )
    assert replica_name(spec, 2) == "shop-web-0123456789.2"
    return container_options(spec, 2, network="shop_default", hosts_file="/hosts")


def test_secure_by_default():
    found = options()
    assert found.readonly
    assert found.no_new_privileges
    assert [(mount.type, mount.target, mount.mode, mount.copyup) for mount in found.mounts] == [
        ("tmpfs", "/tmp", 0o1777, True),
        ("tmpfs", "/run", 0o755, True),
        ("tmpfs", "/var/tmp", 0o1777, True),
    ]
    assert not any(mount.exec for mount in found.mounts)
    assert (found.network, found.hosts_file, found.hostname) == ("shop_default", "/hosts", "web.2")


def test_the_files_word_on_the_root_counts():
    assert options(read_only=True).mounts == ()
    assert options(read_only=True).readonly
    assert options(read_only=False).mounts == ()
    assert not options(read_only=False).readonly


def test_what_the_file_mounts_is_no_scratch_of_ours():
    run = Mount(type="tmpfs", target="/run", mode=0o1777)
    found = options(mounts=(run,)).mounts
    assert sorted(mount.target for mount in found) == ["/run", "/tmp", "/var/tmp"]
    assert next(mount for mount in found if mount.target == "/run") == MountOption(
        type="tmpfs", target="/run", mode=0o1777
    )


def test_mounts():
    found = options(
        read_only=True,
        mounts=(
            Mount(type="volume", source="data", target="/data", subpath="a", nocopy=True),
            Mount(type="volume", target="/own", exec=True),
            Mount(type="bind", source="/srv", target="/srv", read_only=True, create_host_path=True, exec=True),
            Mount(type="tmpfs", target="/s", size_bytes=5, mode=0o700, uid=1, gid=2),
        ),
    ).mounts
    assert found == (
        MountOption(type="volume", source="shop_data", target="/data", subpath="a", nocopy=True),
        MountOption(type="volume", target="/own", exec=True),
        MountOption(type="bind", source="/srv", target="/srv", readonly=True, create=True, exec=True),
        MountOption(type="tmpfs", target="/s", size_bytes=5, mode=0o700, uid=1, gid=2),
    )


def test_everything_else_arrives():
    found = options(
        command=("serve", "--now"),
        entrypoint=(),
        environment={"A": "1", "B": "x=y"},
        working_dir="/srv",
        user="web:web",
        hostname="shop",
        labels={"mine": "yes", "bennu.set": "not this"},
        init=True,
        deploy=Deploy(replicas=3, limits=Resources(cpus=0.5, memory_bytes=1 << 20, pids=7)),
        ulimits={"nofile": Ulimit(soft=10, hard=-1)},
        cap_add=("NET_RAW",),
        cap_drop=("ALL",),
        shm_size_bytes=1 << 21,
        stop_signal="SIGQUIT",
        stop_grace_period_seconds=3.0,
    )
    assert (found.command, found.entrypoint, found.env) == (("serve", "--now"), (), ("A=1", "B=x=y"))
    assert (found.working_dir, found.user, found.hostname, found.init) == ("/srv", "web:web", "shop", True)
    assert found.limits == Limits(memory_bytes=1 << 20, cpus=0.5, pids=7)
    assert found.rlimits == (Rlimit("RLIMIT_NOFILE", 10, -1),)
    assert (found.cap_add, found.cap_drop, found.shm_bytes) == (("NET_RAW",), ("ALL",), 1 << 21)
    assert (found.stop_signal, found.stop_timeout_seconds) == ("SIGQUIT", 3.0)
    assert found.labels == {
        "mine": "yes",
        "bennu.project": "shop",
        "bennu.service": "web",
        "bennu.set": "web-0123456789",
        "bennu.replica": "2",
        "com.docker.compose.project": "shop",
        "com.docker.compose.service": "web",
        "com.docker.compose.container-number": "2",
    }
