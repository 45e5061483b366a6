import msgspec
import pytest

from bennu.errors import Invalid
from bennu.runtime import capabilities
from bennu.runtime.spec import Filter, Host, Limits, MountPoint, Process, Rlimit, Sandbox, oci_process, oci_spec

HOST = Host(machine="x86_64", kernel="6.1.0", cgroup_version="v1", has_swap_limit=True)
TRUE = Process(args=("true",))


def spec(process=TRUE, **sandbox):
    sandbox.setdefault("cgroup", "bennu-x")
    return oci_spec(process, Sandbox(**sandbox), HOST)


def kinds(document):
    return {each["type"]: each.get("path") for each in document["linux"]["namespaces"]}


def test_namespaces_by_network():
    assert kinds(spec()) == dict.fromkeys(("pid", "ipc", "uts", "mount", "cgroup", "network"))
    assert "network" not in kinds(spec(network="host"))
    assert kinds(spec(network="/run/netns/x"))["network"] == "/run/netns/x"


def test_sysctls_of_a_network_of_its_own_only():
    assert spec()["linux"]["sysctl"]["net.ipv4.ip_unprivileged_port_start"] == "0"
    assert "sysctl" not in spec(network="host")["linux"]
    assert spec(network="host", sysctls={"kernel.msgmax": "1"})["linux"]["sysctl"] == {"kernel.msgmax": "1"}


def test_limits():
    found = spec(limits=Limits(memory_bytes=1 << 20, cpus=0.25, pids=7))["linux"]["resources"]
    assert found["memory"] == {"limit": 1 << 20, "swap": 2 << 20}
    assert found["cpu"] == {"quota": 25_000, "period": 100_000}
    assert found["pids"] == {"limit": 7}
    assert set(spec()["linux"]["resources"]) == {"devices"}


def test_no_device_is_open():
    first, *rest = spec()["linux"]["resources"]["devices"]
    assert first == {"allow": False, "access": "rwm"}
    assert all(rule["access"] == "m" for rule in rest)


def test_root_holds_its_capabilities_and_others_none():
    root = oci_process(TRUE)["capabilities"]
    assert root["effective"] == root["permitted"] == root["bounding"] == list(capabilities.DEFAULT)
    other = oci_process(msgspec.structs.replace(TRUE, uid=5))["capabilities"]
    assert other["effective"] == other["permitted"] == other["inheritable"] == other["ambient"] == []
    assert other["bounding"] == list(capabilities.DEFAULT)


def test_rlimits_and_infinity():
    limited = msgspec.structs.replace(TRUE, rlimits=(Rlimit("RLIMIT_CORE", 0, -1),))
    assert oci_process(limited)["rlimits"] == [{"type": "RLIMIT_CORE", "soft": 0, "hard": (1 << 64) - 1}]


def test_a_mount_hides_neither_a_deeper_one_nor_a_kernel_one():
    mounts = (
        MountPoint(target="/data/deep", source="/b"),
        MountPoint(target="/data", source="/a"),
        MountPoint(target="/dev/shm", source="tmpfs", kind="tmpfs"),
    )
    targets = [each["destination"] for each in spec(mounts=mounts)["mounts"]]
    assert targets.index("/data") < targets.index("/data/deep")
    assert targets.count("/dev/shm") == 1
    assert targets.index("/dev") < targets.index("/dev/shm")


def test_the_filter_is_given_whole_and_compiled():
    found = spec(seccomp=Filter(msgspec.Raw(b'{"defaultAction":"SCMP_ACT_ERRNO"}'), "AAAA"))
    text = msgspec.json.decode(msgspec.json.encode(found))
    assert text["linux"]["seccomp"] == {"defaultAction": "SCMP_ACT_ERRNO"}
    assert text["annotations"] == {"run.oci.seccomp_bpf_data": "AAAA"}
    assert "seccomp" not in spec()["linux"]


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ((), (), set(capabilities.DEFAULT)),
        (("net_admin",), (), {*capabilities.DEFAULT, "CAP_NET_ADMIN"}),
        ((), ("CAP_CHOWN",), set(capabilities.DEFAULT) - {"CAP_CHOWN"}),
        (("SYS_TIME",), ("all",), {"CAP_SYS_TIME"}),
        (("ALL",), ("SYS_ADMIN",), set(capabilities.ALL) - {"CAP_SYS_ADMIN"}),
        ((), ("ALL",), set()),
    ],
)
def test_capabilities(add, drop, expected):
    assert set(capabilities.chosen(add, drop)) == expected


def test_an_unknown_capability():
    with pytest.raises(Invalid, match="NOSUCH"):
        capabilities.chosen(("NOSUCH",))
