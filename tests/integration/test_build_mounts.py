"""RUN with mounts, with real containers: what a process finds, what stays behind, and who waits for whom."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bennu.build.agents import forwarded
from bennu.build.cache_mounts import CacheMounts
from bennu.build.graph import Surroundings, Ulimit
from bennu.build.mounts import Look
from bennu.build.secrets import AgentSource, Grants, SecretSource
from bennu.config import Settings
from bennu.errors import Failed, Invalid
from tests.integration.build_world import Builds, Told
from tests.integration.run_world import World, eventually, world

pytestmark = pytest.mark.root

SECRET = "correct-horse-battery-staple"


@pytest.fixture
def box(root_settings: Settings) -> Iterator[World]:
    with world(root_settings) as made:
        yield made


@pytest.fixture
def builds(box: World, tmp_path: Path) -> Builds:
    made = Builds.of(box, tmp_path / "context")
    made.write({"a.txt": "a", "dir/one": "1", "dir/sub/two": "2", "left/out": "x", ".dockerignore": "left\n"})
    os.chmod(made.context / "dir", 0o750)
    os.chown(made.context / "dir/one", 1234, 1234)
    return made


def run(builds: Builds, flags: str, script: str, *, before: str = "", **options: object) -> str:
    """What a script writes into /out/said, in a step with mounts; the rest of the tree must be as it was."""
    text = f"{before}FROM box\nRUN mkdir /out\nRUN {flags} ({script}) > /out/said 2>&1; true\n"
    tree = builds.tree(text, **options)
    plain = builds.tree("FROM box\nRUN mkdir /out\nRUN true\n")
    assert {path for path in tree if path != "/out/said"} == set(plain)
    return tree["/out/said"].content


class TestBind:
    def test_after_an_edit_what_did_not_change_is_linked_from_the_last_excerpt(self, builds):
        text = "FROM box\nRUN --mount=target=/ctx find /ctx -type f -exec md5sum {} + | sort -k 2 > /said\n"

        def contents() -> dict[str, str]:
            time.sleep(0.05)  # past the tick in which files were changed
            said = builds.tree(text)["/said"].content
            return {line.split()[1]: line.split()[0] for line in said.splitlines()}

        def inodes() -> list[dict[str, int]]:
            found = builds.settings.snapshots.glob("*/fs/content/dir")
            return [{each.name: os.lstat(each).st_ino for each in place.rglob("*")} for place in found]

        before = contents()
        builds.write({"dir/one": "2", "dir/new": "3"})
        after = contents()
        assert {path for path in after if before.get(path) != after[path]} == {"/ctx/dir/one", "/ctx/dir/new"}
        assert [len({each[name] for each in inodes()}) for name in ("two", "one")] == [1, 2]
        (builds.context / "dir/sub/two").chmod(0o600)
        contents()
        assert len({each["two"] for each in inodes()}) == 2

    def test_the_context_without_what_is_ignored(self, builds):
        said = run(builds, "--mount=target=/ctx", "cd /ctx; find . | sort; ls -ldn dir dir/one; touch x")
        assert said.splitlines()[:7] == [
            *(".", "./.dockerignore", "./Dockerfile", "./a.txt", "./dir", "./dir/one", "./dir/sub"),
        ]
        assert "left" not in said
        assert "drwxr-x---" in said
        assert " 0 " in said
        assert "1234" not in said
        assert "Read-only file system" in said

    def test_a_file_and_a_directory_of_a_stage(self, builds):
        before = "FROM box AS st\nRUN mkdir -p /d/e && echo q > /d/e/f && chmod 700 /d && ln -s /d/e/f /abs\n"
        flags = "--mount=from=st,source=/d,target=/x/y --mount=from=st,source=abs,target=/etc/f.conf"
        said = run(builds, flags, "ls -ld /x/y | cut -c1-10; cat /x/y/e/f /etc/f.conf", before=before)
        assert said == "drwx------\nq\nq\n"

    def test_of_an_image(self, builds):
        assert "web" in run(builds, "--mount=from=box,source=/etc/passwd,target=/p", "cat /p")

    def test_what_is_written_is_thrown_away(self, builds):
        before = "FROM box AS st\nRUN mkdir /d; echo 1 > /d/f\n"
        flags = "--mount=from=st,source=/d,target=/x,rw --mount=source=dir,target=/y,rw --mount=from=st,target=/z"
        script = "echo 2 > /x/f; rm -r /y/sub; cat /x/f /z/d/f; ls /y"
        assert run(builds, flags, script, before=before) == "2\n1\none\n"
        assert (builds.context / "dir/sub/two").exists()
        told = Told()
        builds.build(f"{before}FROM box\nRUN --mount=from=st,source=/d,target=/x cat /x/f\n", told)
        assert told.output == "1\n"

    def test_a_source_that_is_not_there(self, builds):
        for flags in ("source=nope", "source=left/out", "from=box,source=/nope"):
            with pytest.raises(Invalid) as caught:
                builds.build(f"FROM box\nRUN --mount={flags},target=/x true\n")
            assert caught.value.line == 2

    def test_only_what_is_mounted_counts(self, builds):
        text = "FROM box\nRUN --mount=source=dir,target=/x cat /x/one > /said\n"
        builds.build(text)
        builds.write({"a.txt": "changed", "left/out": "changed"})
        told = Told()
        builds.build(text, told)
        assert told.ran == []
        builds.write({"dir/one": "changed"})
        assert builds.tree(text)["/said"].content == "changed"

    def test_a_stage_with_the_same_outcome_is_the_same_mount(self, builds):
        text = (
            "FROM box AS st\nRUN {}; mkdir /d; echo 1 > /d/f\nFROM box\nRUN --mount=from=st,source=/d,target=/x true\n"
        )
        builds.build(text.format("true"))
        told = Told()
        builds.build(text.format(":"), told)
        assert [line[:10] for line in told.ran] == ["RUN :; mkd"]


class TestTmpfs:
    def test_mode_and_size(self, builds):
        flags = "--mount=type=tmpfs,target=/t,size=1m --mount=type=tmpfs,target=/srv"
        script = "ls -ld /t /srv | cut -c1-10; dd if=/dev/zero of=/t/x bs=1024 count=2000"
        said = run(builds, flags, script)
        assert said.startswith("drwxr-xr-x\ndrwxrwxrwt\n")
        assert "No space left on device" in said


class TestSecrets:
    @pytest.fixture
    def grants(self, tmp_path):
        path = tmp_path / "secret"
        path.write_text(SECRET)
        secrets = [SecretSource("k", file=path), SecretSource("e", env="TOKEN")]
        return Grants({each.id: each for each in secrets}, environ={"TOKEN": f"{SECRET}-2"})

    def test_files_and_variables(self, builds, grants):
        flags = "--mount=type=secret,id=k,required --mount=type=secret,id=k,target=/x/k,uid=5,gid=6,mode=0440"
        flags += " --mount=type=secret,id=e,env=PATH2 --mount=type=secret,id=none --mount=type=secret,id=none,env=NONE"
        script = (
            "ls -ln /run/secrets/k /x/k; cat /run/secrets/k | wc -c; echo $PATH2 | wc -c; ls /run/secrets;"
            ' echo "[${NONE-unset}]"'
        )
        lines = run(builds, flags, script, grants=grants).splitlines()
        assert lines[0].split()[0:4] == ["-r--------", "1", "0", "0"]
        assert lines[1].split()[0:4] == ["-r--r-----", "1", "5", "6"]
        assert lines[2:] == [str(len(SECRET)), str(len(SECRET) + 3), "k", "[]"]

    def test_a_value_is_nowhere_afterwards_nor_on_a_disk_meanwhile(self, builds, grants):
        seen = threading.Event()

        class Looking(Told):
            def __call__(self, event):
                super().__call__(event)
                if "seen" in self.output:
                    seen.set()

        flags = "--mount=type=secret,id=k --mount=type=secret,id=e,env=TOKEN"
        script = 'echo "$TOKEN" | wc -c > /said; test -s /run/secrets/k && echo seen; sleep 1'
        options = {"told": Looking(), "grants": grants}
        thread = threading.Thread(target=builds.build, args=(f"FROM box\nRUN {flags} {script}\n",), kwargs=options)
        thread.start()
        assert seen.wait(20)
        assert holding(SECRET, builds.settings) == ""
        thread.join()
        assert holding(SECRET, builds.settings) == ""

    def test_a_required_one_that_is_missing(self, builds):
        for flags in ("id=k,required", "id=k,required,env=A"):
            with pytest.raises(Invalid, match="no secret 'k' was given"):
                builds.build(f"FROM box\nRUN --mount=type=secret,{flags} true\n")

    def test_another_value_is_no_change(self, builds, grants):
        text = "FROM box\nRUN --mount=type=secret,id=e,env=TOKEN true\n"
        builds.build(text, grants=grants)
        told = Told()
        builds.build(text, told)
        assert told.ran == []


def holding(text: str, settings: Settings) -> str:
    """The files of a root, in this process's view of them, that hold a text."""
    found = subprocess.run(
        ["grep", "-rlaF", text, str(settings.root), str(settings.run)], capture_output=True, text=True, check=False
    )
    return found.stdout


def test_an_agent(builds, tmp_path):
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(tmp_path / "agent"))
        grants = Grants(agents={"default": AgentSource("default", socket=tmp_path / "agent")})
        flags = "--mount=type=ssh,mode=0660,gid=33 --mount=type=ssh,id=none"
        script = "echo $SSH_AUTH_SOCK; ls -ln /run/buildkit | grep agent"
        lines = run(builds, flags, script, grants=grants).splitlines()
    assert lines[0] == "/run/buildkit/ssh_agent.0"
    assert lines[1].split()[0:4] == ["srw-rw----", "1", "0", "33"]
    assert len(lines) == 2
    with pytest.raises(Invalid, match="no SSH agent 'default'"):
        builds.build("FROM box\nRUN --mount=type=ssh,required true\n")


def test_an_agent_for_keys_ends_with_its_step(box, tmp_path):
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "mine", "-f", str(key)], check=True)
    with forwarded(box.settings, AgentSource("k", keys=(key,)), Look(0o600)) as path:
        environ = {**os.environ, "SSH_AUTH_SOCK": str(path)}
        listed = subprocess.run(["ssh-add", "-l"], env=environ, capture_output=True, text=True, check=True)
    assert "mine" in listed.stdout
    assert os.listdir(box.settings.run / "trees") == []


class TestCaches:
    def test_what_one_step_leaves_the_next_finds_and_no_layer_has(self, builds):
        flags = "--mount=type=cache,id=c,target=/root/.cache"
        assert run(builds, flags, "echo 1 > /root/.cache/a") == ""
        said = run(builds, flags, "cat /root/.cache/a; ls -ld /root/.cache | cut -c1-10")
        assert said == "1\ndrwxr-xr-x\n"

    def test_one_begins_as_a_stage(self, builds):
        before = "FROM box AS st\nRUN mkdir -p /d/e; echo 1 > /d/e/f; chmod 711 /d; chown 7:8 /d\n"
        flags = "--mount=type=cache,target=/c,from=st,source=/d"
        said = run(builds, flags, "ls -ldn /c | cut -c1-35; cat /c/e/f; echo 2 >> /c/e/f", before=before)
        assert said.split() == ["drwx--x--x", "3", "7", "8", "1"]
        assert run(builds, flags, "cat /c/e/f; : again", before=before) == "1\n2\n"

    def test_mode_and_owner(self, builds):
        said = run(builds, "--mount=type=cache,target=/c,mode=0700,uid=7,gid=8", "ls -ldn /c")
        assert said.split()[0:4] == ["drwx------", "2", "7", "8"]

    def test_a_read_only_one(self, builds):
        assert "Read-only" in run(builds, "--mount=type=cache,target=/c,ro", "touch /c/x; true")

    def test_two_builds_at_once(self, builds):
        """Each step says that it is there and waits for the other, for a while."""
        step = (
            "RUN --mount=type=cache,id={0},target=/c,sharing={0} : {0}; touch /c/{1}; i=0; "
            "while [ ! -e /c/{2} ] && [ $i -lt {3} ]; do sleep 0.1; i=$((i+1)); done; "
            "[ -e /c/{2} ] && [ $i -lt {3} ] && echo met; {4}\n"
        )
        for sharing, patience, met in (("shared", 100, "met\nmet\n"), ("private", 5, ""), ("locked", 5, "")):
            tolds = [Told(), Told()]
            texts = [
                "FROM box\n"
                + step.format(sharing, one, other, patience, "true" if sharing == "shared" else f"rm /c/{one}")
                for one, other in (("x", "y"), ("y", "x"))
            ]
            threads = [
                threading.Thread(target=self.build, args=(builds, text, told))
                for text, told in zip(texts, tolds, strict=True)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            said = "".join(told.output for told in tolds)
            assert "".join(line + "\n" for line in said.splitlines() if line == "met") == met
            assert ("waiting for the cache mount" in said) is (sharing == "locked")
        caches = [record.id for record in CacheMounts(builds.settings).walk()]
        assert caches == ["locked", "private", "private", "shared"]

    def build(self, builds: Builds, text: str, told: Told) -> None:
        from bennu.build.request import BuildRequest

        request = BuildRequest(context=builds.context, text=text.encode(), network="none")
        builds.runtime.builder.build(request, told)

    def test_who_waits_can_be_ended(self, builds, box):
        text = "FROM box\nRUN --mount=type=cache,id=c,target=/c,sharing=locked {}\n"
        (builds.context / "Dockerfile").write_text(text.format("echo holds it; sleep 60"))
        (builds.context / "Other").write_text(text.format("echo second"))
        words = ("build", "--progress", "plain", "--network", "none")
        holder = box.spawn(*words, str(builds.context), stderr=subprocess.PIPE)
        try:
            assert holder.stderr is not None
            assert any("holds it" in line and "RUN" not in line for line in holder.stderr)
            waiter = box.spawn(*words, "-f", "Other", str(builds.context), stderr=subprocess.PIPE)
            assert waiter.stderr is not None
            said = next(line for line in waiter.stderr if "waiting for the cache mount" in line)
            assert f"pid {holder.pid}" in said
            waiter.send_signal(signal.SIGINT)
            waiter.communicate(timeout=20)
            assert waiter.returncode == 130
        finally:
            holder.send_signal(signal.SIGINT)
            holder.communicate(timeout=20)
        eventually(lambda: not any(each.is_busy for each in CacheMounts(builds.settings).walk()))


class TestSurroundings:
    def test_hosts_limits_and_shared_memory(self, builds):
        around = Surroundings((("db", "10.1.2.3"),), (Ulimit("nofile", 100, 200),), 1 << 20)
        script = "cat /etc/hosts; ulimit -n; ulimit -Hn; df -k /dev/shm | tail -1"
        lines = run(builds, "", script, around=around).splitlines()
        assert lines[:3] == [
            "127.0.0.1\tlocalhost buildkitsandbox",
            "::1\tlocalhost ip6-localhost ip6-loopback",
            "10.1.2.3\tdb",
        ]
        assert lines[3:5] == ["100", "200"]
        assert lines[5].split()[1] == "1024"

    def test_names_are_read_only_and_the_host_name_is_the_images(self, builds):
        tree = builds.tree("FROM box\nRUN echo mine > /etc/hostname; echo x >> /etc/hosts || echo no > /tmp/said\n")
        assert tree["/etc/hostname"].content == "mine\n"
        assert tree["/tmp/said"].content == "no\n"
        assert "/etc/hosts" not in tree

    def test_every_privilege_where_it_is_allowed(self, builds):
        text = "FROM box\nRUN --security=insecure mkdir /m && mount -t tmpfs x /m && ls /dev/fuse && umount /m\n"
        with pytest.raises(Invalid, match="--security=insecure") as caught:
            builds.build(text)
        assert caught.value.line == 2
        assert "--allow security.insecure" in (caught.value.hint or "")
        builds.build(text, allowed=("security.insecure",))
        with pytest.raises(Failed):
            builds.build(text.replace("--security=insecure ", ""), allowed=("security.insecure",))

    def test_a_working_directory_that_is_missing(self, builds):
        tree = builds.tree("FROM box\nWORKDIR /x/y\nRUN rmdir /x/y\nUSER 33\nRUN true\n")
        assert tree["/x/y"].owner == (33, 33)


def test_a_tree_without_them_gets_the_kernels_places(builds):
    tree = builds.tree("FROM box AS b\nFROM scratch\nCOPY --from=b /bin /bin\nRUN true\n")
    assert {path: node.mode for path, node in tree.items() if path.count("/") == 1 and path != "/bin"} == {
        "/dev": 0o755,
        "/proc": 0o755,
        "/sys": 0o755,
    }
