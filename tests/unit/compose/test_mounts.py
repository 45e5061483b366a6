import pytest

from bennu.compose.model import Mount
from bennu.errors import Unsupported
from tests.unit.compose.support import service, service_error

VOLUMES = "volumes: {data: }\n"


def mounts(text):
    return service(text, VOLUMES).mounts


def bind(source, target, **more):
    return Mount(type="bind", source=source, target=target, exec=True, create_host_path=True, **more)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data:/var/lib", Mount(type="volume", source="data", target="/var/lib")),
        ("data:/var/lib/:ro", Mount(type="volume", source="data", target="/var/lib", read_only=True)),
        ("data:/x:rw,nocopy", Mount(type="volume", source="data", target="/x", nocopy=True)),
        ("/anonymous", Mount(type="volume", target="/anonymous")),
        ("./conf:/etc/conf:ro", bind("/work/shop/conf", "/etc/conf", read_only=True)),
        ("../x/./y:/y", bind("/work/x/y", "/y")),
        ("~/x:/x", bind("/home/ada/x", "/x")),
        ("/abs:/x:rslave", bind("/abs", "/x", propagation="rslave")),
        (".:/app", bind("/work/shop", "/app")),
        ("{type: volume, target: /x}", Mount(type="volume", target="/x")),
        (
            "{type: volume, source: data, target: /x, read_only: true, volume: {nocopy: true, subpath: a/b}}",
            Mount(type="volume", source="data", target="/x", read_only=True, nocopy=True, subpath="a/b"),
        ),
        ("{type: bind, source: conf, target: /x}", bind("/work/shop/conf", "/x")),
        (
            "{type: bind, source: /, target: /x, bind: {create_host_path: 0, recursive: disabled, propagation: slave}}",
            Mount(type="bind", source="/", target="/x", exec=True, recursive=False, propagation="slave"),
        ),
        (
            "{type: tmpfs, target: /x, tmpfs: {size: 64m, mode: 0o755}}",
            Mount(type="tmpfs", target="/x", size_bytes=64 << 20, mode=0o755),
        ),
    ],
)
def test_volumes(text, expected):
    item = text if text.startswith("{") else f'"{text}"'
    assert mounts(f"volumes: [{item}]") == (expected,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tmpfs: /run", Mount(type="tmpfs", target="/run")),
        (
            'tmpfs: ["/run:size=1m,mode=1777,uid=5,gid=6,exec,ro"]',
            Mount(
                type="tmpfs", target="/run", size_bytes=1 << 20, mode=0o1777, uid=5, gid=6, exec=True, read_only=True
            ),
        ),
        ("tmpfs: /run:rw,noexec,nosuid", Mount(type="tmpfs", target="/run")),
    ],
)
def test_tmpfs(text, expected):
    assert mounts(text) == (expected,)


def test_exec_of_a_service_reaches_its_volumes_and_tmpfs():
    found = mounts("x-bennu: {exec: true}\nvolumes: [data:/d]\ntmpfs: /t")
    assert [mount.exec for mount in found] == [True, True]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("volumes: [a:b:c:d]", "is not a volume"),
        ('volumes: ["data::ro"]', "is not a volume"),
        ("volumes: [data:relative]", "is not an absolute path"),
        ("volumes: [data:/]", "over the root"),
        ("volumes: [data:/a/../..]", "over the root"),
        ("volumes: [data:/x:r0]", "'r0' is no option of a volume mount"),
        ("volumes: [./x:/x:nocopy]", "'nocopy' is no option of a bind mount"),
        ("volumes: [data:/x, /x]", "'/x' is mounted twice"),
        ("volumes: [/x]\ntmpfs: /x/", "'/x' is mounted twice"),
        ("volumes: [dat:/x]", "volume 'dat' is not declared"),
        ("volumes: [{target: /x}]", "has no 'type'"),
        ("volumes: [{type: bind, target: /x}]", "needs a 'source'"),
        ("volumes: [{type: tmpfs, source: x, target: /x}]", "has no source"),
        ("volumes: [{type: bnd, target: /x}]", "no type of a mount"),
        ("volumes: [{type: volume, target: /x, tmpfs: {}}]", "stands in a mount of type 'volume'"),
        ("volumes: [{type: volume, source: data, target: /x, volume: {subpath: ../x}}]", "leads out of the volume"),
        ("volumes: {a: b}", "is a mapping, should be a list"),
        ("tmpfs: /x:sise=1", "is no option of a tmpfs"),
        ("tmpfs: /x:size=big", "is not a size"),
    ],
)
def test_what_is_refused(text, words):
    error = service_error(text, VOLUMES)
    assert words in error.message
    assert error.line >= 4


def test_other_types_are_not_supported():
    assert isinstance(service_error("volumes: [{type: npipe, source: x, target: /x}]"), Unsupported)


def test_writing_shared_state():
    assert service("volumes: [data:/d]", VOLUMES).writes_shared_state
    assert service("volumes: [./d:/d]").writes_shared_state
    assert not service("volumes: [data:/d:ro, /anonymous]\ntmpfs: /t", VOLUMES).writes_shared_state
    assert not service("volumes: [data:/d]\nx-bennu: {writes: false}", VOLUMES).writes_shared_state
    assert service("x-bennu: {writes: true}").writes_shared_state


def test_a_directory_comes_before_what_is_below_it():
    found = (
        mounts("volumes: ['data:/a/b', /a-b, /a/b/c]\ntmpfs: [/a, /]")
        if False
        else mounts("volumes: ['data:/a/b', /a-b, /a/b/c]\ntmpfs: /a")
    )
    assert [mount.target for mount in found] == ["/a", "/a/b", "/a/b/c", "/a-b"]
