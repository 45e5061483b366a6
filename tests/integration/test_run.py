"""``bennu run`` and its kin as a person types them: output, exit statuses, what is left."""

import json
import signal
import time

import pytest

from tests.integration.run_world import eventually, world

pytestmark = pytest.mark.root


@pytest.fixture
def box(root_settings):
    with world(root_settings) as made:
        made.image()
        yield made


def quiet(*words):
    return ("run", "--rm", "--network", "none", *words)


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (("true",), 0),
        (("sh", "-c", "exit 3"), 3),
        (("sh", "-c", "kill -TERM $$; sleep 1"), 0),
        (("nosuch",), 127),
        (("/nosuch",), 127),
        (("/etc",), 126),
        (("/etc/passwd",), 126),
    ],
)
def test_exit_statuses(box, command, status):
    done = box.bennu(*quiet("box", *command))
    assert done.returncode == status, done.stderr
    assert box.containers.list() == ()


def test_a_signal_that_ends_it_is_told(box):
    done = box.bennu(*quiet("box", "sh", "-c", "sh -c 'kill -KILL $$'; exit $?"))
    assert done.returncode == 137


@pytest.mark.parametrize(
    "words",
    [
        ("nosuch:image",),
        ("--nosuch", "box"),
        ("-p", "80:80", "box"),
        ("--privileged", "box"),
        ("--restart", "always", "box"),
        ("--user", "nobody", "box", "true"),
        ("--cap-add", "NOSUCH", "box"),
        ("--stop-signal", "NOSUCH", "box"),
        ("-w", "relative", "box"),
        ("-v", "a:b:c:d", "box"),
        ("--mount", "type=bind,source=/nosuch/source,target=/x", "box", "true"),
        ("--network", "nosuch", "box", "true"),
    ],
)
def test_what_cannot_be_met_is_125_with_one_error(box, words):
    done = box.bennu("run", "--rm", *words)
    assert done.returncode == 125
    assert done.stderr.count("error:") == 1
    assert box.containers.list() == ()


def test_streams_and_input(box):
    done = box.bennu(*quiet("box", "sh", "-c", "echo out; echo err >&2"))
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    done = box.bennu(*quiet("-i", "box", "wc", "-c"), typed="x" * 300_000)
    assert done.stdout == "300000\n"
    assert box.bennu(*quiet("box", "cat"), typed="not for it").stdout == ""


def test_a_flood_arrives_whole_whoever_is_slow(box):
    reader = box.spawn(*quiet("box", "sh", "-c", "seq 300000; echo end >&2"), stdout=-1, stderr=-1)
    time.sleep(0.5)
    out, err = reader.communicate(timeout=60)
    assert out == "".join(f"{n}\n" for n in range(1, 300_001))
    assert err == "end\n"


def test_the_environment(box, tmp_path):
    (tmp_path / "env").write_text("# comment\nA=1\nB=has = and spaces \nFROM_US\n")
    box.image("own:1", env=("PATH=/bin", "KEEP=image", "DROP=image"), working_dir="/srv", user="web")
    done = box.bennu(
        *quiet("--env-file", str(tmp_path / "env"), "-e", "A=2", "-e", "KEEP=flag", "-e", "DROP", "own:1", "env")
    )
    found = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert (found["A"], found["B"], found["KEEP"], found["HOME"], found["PATH"]) == (
        "2", "has = and spaces ", "flag", "/srv", "/bin",
    )  # fmt: skip
    assert "DROP" not in found
    assert "FROM_US" not in found
    done = box.bennu(*quiet("own:1", "sh", "-c", "pwd; id -u; id -g; id -G"))
    assert done.stdout.split("\n")[:4] == ["/srv", "33", "33", "33 26"]
    done = box.bennu(*quiet("-u", "5:6", "-w", "/new/dir", "own:1", "sh", "-c", "pwd; id -u; id -G; stat -c %u ."))
    assert done.stdout.split() == ["/new/dir", "5", "6", "0"]


def test_entrypoint_and_command(box):
    box.image("say:1", entrypoint=("echo", "entry"), cmd=("image",))
    assert box.bennu(*quiet("say:1")).stdout == "entry image\n"
    assert box.bennu(*quiet("say:1", "given", "-x")).stdout == "entry given -x\n"
    assert box.bennu(*quiet("--entrypoint", "id", "say:1", "-u")).stdout == "0\n"
    assert box.bennu(*quiet("--entrypoint", "", "say:1", "echo", "bare")).stdout == "bare\n"
    done = box.bennu(*quiet("--entrypoint", "", "say:1"))
    assert done.returncode == 125
    assert "no command" in done.stderr


def test_detached_life(box):
    started = box.bennu("run", "-d", "--name", "life", "--network", "none", "-l", "k=v", "box", "sh", "-c",
                        "echo ready; trap 'echo bye; exit 9' TERM; while :; do sleep 0.05; done")  # fmt: skip
    container = started.stdout.strip()
    assert len(container) == 64
    eventually(lambda: "ready" in box.bennu("logs", "life").stdout)
    assert box.bennu("ps", "-q", "--no-trunc").stdout.strip() == container
    assert box.bennu("ps", "--filter", "label=k=v", "--format", "{{.Names}} {{.State}}").stdout == "life running\n"
    assert box.bennu("run", "-d", "--name", "life", "box").returncode == 125
    assert box.bennu("rm", "life").returncode == 1
    assert box.bennu("exec", "life", "sh", "-c", "echo here; exit 4").returncode == 4
    script = "cat; echo $X; pwd; id -u"
    done = box.bennu("exec", "-i", "-e", "X=1", "-w", "/srv", "-u", "web", "life", "sh", "-c", script, typed="in\n")
    assert done.stdout.split() == ["in", "1", "/srv", "33"]
    assert box.bennu("exec", "life", "nosuch").returncode == 127
    assert box.bennu("stop", "life").stdout == "life\n"
    assert box.bennu("wait", container[:8]).stdout == "9\n"
    assert box.bennu("exec", "life", "true").returncode == 1
    assert box.bennu("logs", "life").stdout == "ready\nbye\n"
    assert "Exited (9)" in box.bennu("ps", "-a").stdout
    assert box.bennu("start", "life").stdout == "life\n"
    assert box.bennu("kill", "-s", "KILL", "life").stdout == "life\n"
    assert box.bennu("wait", "life").stdout == "137\n"
    assert box.bennu("kill", "life").returncode == 1
    assert box.bennu("rm", "life", "nosuch").returncode == 1
    assert box.bennu("rm", "-f", "nosuch").returncode == 0
    assert box.bennu("ps", "-aq").stdout == ""


def test_a_detached_transient_container_removes_itself(box):
    box.bennu("run", "-d", "--rm", "--network", "none", "-v", "/anonymous", "box", "true")
    eventually(lambda: box.containers.list() == ())
    eventually(lambda: box.containers.volumes.walk() == ())


def test_inspect_is_docker_shaped(box):
    box.bennu("run", "-d", "--name", "look", "--network", "none", "-m", "64m", "--cpus", "0.5", "-e", "A=b",
              "--read-only", "-v", "data:/data:ro", "box", "sleep", "100")  # fmt: skip
    (found,) = json.loads(box.bennu("inspect", "look").stdout)
    assert found["Name"] == "/look"
    assert found["State"]["Running"] is True
    assert found["State"]["Pid"] > 0
    assert (found["Path"], found["Args"]) == ("sleep", ["100"])
    assert "A=b" in found["Config"]["Env"]
    host = found["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["ReadonlyRootfs"]) == (64 << 20, 500_000_000, True)
    (mount,) = found["Mounts"]
    assert (mount["Name"], mount["Destination"], mount["RW"]) == ("data", "/data", False)
    assert box.bennu("inspect", "-f", "{{.State.Status}}", "look").stdout == "running\n"
    assert box.bennu("inspect", "nosuch").returncode == 1
    (image,) = json.loads(box.bennu("inspect", "box").stdout)
    assert image["RepoTags"] == ["box:latest"]


def test_a_signal_to_run_reaches_the_process(box):
    script = "trap 'echo got it; exit 7' INT; echo up; while :; do sleep 0.05; done"
    with box.spawn(*quiet("--name", "sig", "box", "sh", "-c", script), stdout=-1) as client:
        assert client.stdout.readline() == "up\n"
        client.send_signal(signal.SIGINT)
        assert client.stdout.read() == "got it\n"
        assert client.wait(20) == 7
    assert box.containers.list() == ()


def test_a_killed_client_leaves_the_container_running_and_then_nothing(box):
    with box.spawn(*quiet("--name", "orphan", "box", "sh", "-c", "echo up; sleep 1"), stdout=-1) as client:
        assert client.stdout.readline() == "up\n"
        client.kill()
    assert box.containers.inspect("orphan").status.state == "running"
    assert box.containers.wait("orphan") == 0
    assert box.bennu(*quiet("box", "true")).returncode == 0
    assert box.containers.list() == ()


def test_logs(box):
    script = "echo one; echo two >&2; printf 'half '; sleep 0.1; echo line; sleep 0.3; echo last"
    box.bennu("run", "-d", "--name", "say", "--network", "none", "box", "sh", "-c", script)
    followed = box.bennu("logs", "-f", "say")
    assert followed.stdout == "one\nhalf line\nlast\n"
    assert followed.stderr == "two\n"
    assert box.bennu("logs", "--tail", "1", "say").stdout == "last\n"
    assert box.bennu("logs", "-n", "0", "say").stdout == ""
    assert box.bennu("logs", "--since", "1h", "say").stdout == "one\nhalf line\nlast\n"
    assert box.bennu("logs", "--until", "1h", "say").stdout == ""
    stamped = box.bennu("logs", "-t", "--tail", "1", "say").stdout
    moment, word = stamped.split()
    assert word == "last"
    assert box.bennu("logs", "--since", moment, "say").stdout == "last\n"
    assert box.bennu("logs", "nosuch").returncode == 1
