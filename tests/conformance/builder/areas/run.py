"""RUN: what a process finds around it, its mounts, its heredocs, and what of all that stays in the layer."""

from __future__ import annotations

from tests.conformance.builder.case import Area, Dir, File, Link

AREA = Area("run")
builds, refuses = AREA.builds, AREA.refuses

TREE = {
    "a.txt": "a\n",
    "secret.sh": File(b"#!/bin/sh\necho ran\n", 0o700, (1234, 1234)),
    "dir/one": File(b"1\n", 0o600),
    "dir/sub": Dir(0o711),
    "dir/sub/two": "2\n",
    "dir/to-one": Link("one"),
    "to-dir": Link("dir"),
    "to-file": Link("dir/one"),
    "to-up": Link("../../a.txt"),
    "left/out": "x\n",
    "left/kept": "k\n",
    ".dockerignore": "left\n!left/kept\nDockerfile\n",
}
STAGE = """FROM localhost/box AS st
RUN mkdir -p /d/e && echo q > /d/e/f && chmod 700 /d && chown 5:6 /d && ln -s /d/e/f /abs && ln -s d /rel
"""
LIST = "(cd {0} && find . | sort && find . | sort | xargs stat -c '%n %a %u %g %F')"


def runs(name: str, lines: str, *, before: str = "", files=TREE, base: str = "box", **options: object) -> None:
    builds(name, f"{before}FROM localhost/{base}\n{lines}\n", files, **options)


def fails(name: str, lines: str, *, before: str = "", files=TREE, **options: object) -> None:
    refuses(name, f"{before}FROM localhost/box\n{lines}\n", files, **options)


# what is around a process
runs("environment", "ENV A=1\nARG B=2\nRUN env | sort > /said")
runs("environment-of-a-user", "USER app\nRUN env | sort > /tmp/said; id > /tmp/id")
runs("environment-of-a-number", "USER 4242:17\nRUN env | sort > /tmp/said; id -u > /tmp/id; id -G >> /tmp/id")
runs("environment-home-is-set", "ENV HOME=/x\nRUN env | sort > /said")
runs("environment-home-is-empty", "ENV HOME=\nRUN env | sort > /said")
runs("exec-form-has-no-shell", 'RUN ["/bin/sh", "-c", "env | sort > /said; echo $0 >> /said"]')
runs("exec-form-by-name", 'RUN ["touch", "/a b", "/$c"]')
runs("streams", "RUN test -p /dev/stdin && cat > /in; for n in 1 2; do test -t $n || echo pipe; done > /said")
runs("umask", "RUN umask > /said; touch /f; mkdir /d; mkdir -m 777 /e")
runs("capabilities", "RUN grep -E 'Cap|NoNew|Seccomp:' /proc/self/status > /said")
runs("capabilities-of-a-user", "USER app\nRUN grep -E 'Cap|NoNew|Seccomp:' /proc/self/status > /tmp/said")
runs("names", "RUN cat /etc/hosts > /said; hostname >> /said; wc -c < /etc/hostname >> /said")
runs(
    "names-are-read-only",
    "RUN for f in hosts resolv.conf; do (echo x >> /etc/$f) 2> /dev/null && echo wrote $f; done > /said; true",
)
runs("host-name-is-a-file", "RUN echo mine > /etc/hostname")
runs("interfaces", "RUN ls /sys/class/net > /said")
runs(
    "devices", "RUN ls /dev | grep -v core > /said; stat -c '%n %a %F' /dev/null /dev/shm /dev/pts /dev/mqueue >> /said"
)
runs("masks", "RUN for f in keys timer_list; do wc -c < /proc/$f; done > /said; touch /sys/x || echo ro >> /said")
runs("nodes-can-be-made", "RUN mknod /n c 1 3; mknod /b b 7 0; mkfifo /p; chmod 6755 /bin/busybox; true")
runs("mounts-cannot-be-made", "RUN mkdir /m; mount -t tmpfs x /m || echo no > /said")
runs("killed-children", "RUN (sleep 100 &) ; echo $$ > /said")
runs("working-directory-that-is-gone", "WORKDIR /x/y\nRUN rmdir /x/y\nUSER 33:50\nRUN pwd > /tmp/said")
runs("working-directory-of-a-base", "RUN (pwd; id; env | sort) > /tmp/said", base="rich")
runs("nothing-is-left", "RUN true")
runs("nothing-is-left-in-bare", "RUN true", base="bare")
builds("scratch", "FROM localhost/box AS b\nFROM scratch\nCOPY --from=b /bin /bin\nRUN true\nRUN echo x > /f\n")
builds(
    "scratch-etc",
    "FROM localhost/box AS b\nFROM scratch\nCOPY --from=b /bin /bin\nRUN mkdir -p /etc && echo x > /etc/f\n",
)
fails("fails", "RUN false")
fails("no-such-program", 'RUN ["/nowhere"]')
fails("no-such-user", "USER nosuch\nRUN true")
fails("no-shell", 'SHELL ["/nowhere", "-c"]\nRUN true')

# networks
runs("network-none", "RUN --network=none ls /sys/class/net > /said; cat /etc/hosts >> /said")
runs("network-default", "RUN --network=default ls /sys/class/net > /said")
fails("network-unknown", "RUN --network=bridge true")

# heredocs
runs("heredoc", "RUN <<EOF\necho a > /said\necho $HOME >> /said\nEOF")
runs("heredoc-tabs", "RUN <<-EOF\n\techo a > /said\n\t\techo b >> /said\n\tEOF")
runs("heredoc-quoted", "RUN <<'E'\necho \"$HOME\" '\\$x' > /said\nE")
runs("heredoc-hash-bang", "RUN <<E\n#!/bin/sh\necho $0 $PWD > /said\nls -l /dev/pipes | cut -c1-10 >> /said\nE")
runs("heredoc-to-a-command", "RUN cat <<A > /one && cat <<'B' >> /one\nx $HOME\nA\ny $HOME\nB")
runs("heredoc-behind", "RUN <<E cat > /said\npiped $HOME\nE")
runs("heredoc-descriptor", "RUN cat 3<<E <&3 > /said\nthree\nE")
runs("heredoc-shell", 'SHELL ["/bin/sh", "-ec"]\nRUN <<E\nfalse || true\necho $- > /said\nE')
runs("heredoc-with-mounts", "RUN --mount=target=/c <<E\ncat /c/a.txt > /said\nE")
runs("heredoc-empty", "RUN <<E\nE")
fails("heredoc-fails", "RUN <<E\nset -e\nfalse\necho\nE")

# binds
runs("bind-context", f"RUN --mount=target=/c {LIST.format('/c')} > /said; touch /c/x || echo ro >> /said")
runs("bind-is-the-default-type", "WORKDIR /w\nRUN --mount=source=dir cat one > /said; ls -a >> /said")
runs("bind-context-as-a-user", "USER app\nRUN --mount=target=/c (cat /c/a.txt; cat /c/dir/one) > /tmp/said 2>&1; true")
runs("bind-directory", f"RUN --mount=type=bind,source=dir,target=/new/deep {LIST.format('/new/deep')} > /said")
runs("bind-file", "RUN --mount=source=a.txt,target=/etc/new.conf cat /etc/new.conf > /said; touch /etc")
runs("bind-file-over-file", "RUN --mount=source=a.txt,target=/etc/passwd cat /etc/passwd > /said")
runs("bind-file-mode", "RUN --mount=src=secret.sh,dst=/s stat -c '%a %u %g' /s > /said; /s >> /said")
runs("bind-links", "RUN --mount=source=to-dir,target=/d --mount=source=to-file,target=/f (ls -A /d; cat /f) > /said")
runs("bind-unclean", "WORKDIR /w\nRUN --mount=source=/./dir//sub/..,destination=../v/./x/ ls /v/x > /said")
runs("bind-variables", "ARG S=dir\nENV T=/t\nRUN --mount=source=$S/sub,target=${T}${U:-/u} ls $T/u > /said")
runs("bind-kept", "RUN --mount=source=left,target=/l ls /l > /said")
runs(
    "bind-writes-are-gone",
    "RUN --mount=source=dir,target=/d,rw rm -r /d/sub && echo x > /d/one && ls /d > /said\n"
    "RUN --mount=source=dir,target=/d,readwrite=true cat /d/one > /again",
)
runs("bind-readwrite-false", "RUN --mount=source=dir,target=/d,rw=false touch /d/x || echo ro > /said")
runs(
    "bind-twice",
    "RUN --mount=source=dir,target=/d,rw --mount=source=dir,target=/e echo x > /d/one; cat /d/one /e/one > /said",
)
runs(
    "bind-nested",
    "RUN --mount=source=dir,target=/d/in --mount=from=st,source=/d,target=/d,rw find /d | sort > /said",
    before=STAGE,
)
runs("bind-same-target", "RUN --mount=type=tmpfs,target=/d --mount=source=dir,target=/d ls /d > /said")
runs("bind-same-target-other-way", "RUN --mount=source=dir,target=/d --mount=type=tmpfs,target=/d ls -A /d > /said")
runs("bind-what-is-filled-stays", "RUN --mount=source=dir,target=/n/d echo x > /n/own")
runs(
    "bind-over-what-is-there",
    "RUN mkdir -p /n/d && echo x > /n/d/f\nRUN --mount=source=dir,target=/n/d ls /n/d > /said",
)
runs("bind-copied", "RUN --mount=source=dir,target=/d cp -a /d /copy")
runs("bind-csv", 'RUN --mount=type=bind,"source=dir",target=/d ls /d > /said')
runs("bind-upper-case", "RUN --mount=TYPE=Bind,SOURCE=dir,TARGET=/d ls /d > /said")
runs("bind-stage", f"RUN --mount=from=st,source=/d,target=/x {LIST.format('/x')} > /said", before=STAGE)
runs(
    "bind-stage-links",
    "RUN --mount=from=ST,source=abs,target=/x --mount=from=st,source=rel/e,target=/y cat /x /y/f > /said",
    before=STAGE,
)
runs(
    "bind-stage-rw-file", "RUN --mount=from=st,source=/d/e/f,target=/x,rw echo more >> /x; cat /x > /said", before=STAGE
)
runs("bind-stage-all", "RUN --mount=from=st,target=/x ls /x > /said", before=STAGE)
runs("bind-image", "RUN --mount=from=localhost/data,target=/x find /x | sort > /said")
runs("bind-of-what-it-stands-on", "FROM st\nRUN --mount=from=st,source=/d,target=/x cat /x/e/f > /said", before=STAGE)
fails("bind-root", "RUN --mount=target=/ true")
fails("bind-no-target", "RUN --mount=source=dir true")
fails("bind-missing", "RUN --mount=source=nope,target=/x true")
fails("bind-left-out", "RUN --mount=source=left/out,target=/x true")
fails("bind-stage-missing", "RUN --mount=from=st,source=/nope,target=/x true", before=STAGE)
fails("bind-from-variable", "ARG S=st\nRUN --mount=from=$S,target=/x true", before=STAGE)
fails(
    "bind-from-itself",
    "RUN --mount=from=me,target=/x true",
    before="FROM localhost/box AS me\nRUN --mount=from=me,target=/x true\n",
    at=False,
)
refuses(
    "bind-from-later",
    "FROM localhost/box AS a\nRUN --mount=from=b,target=/x true\nFROM localhost/box AS b\nFROM a\n"
    "RUN --mount=from=b,target=/y true\n",
    TREE,
    at=False,
)

# caches, whose content is the business of whoever kept it
runs(
    "cache",
    "RUN --mount=type=cache,id=rec-1,target=/c/d stat -c '%a %u %g' /c/d > /said; echo x > /c/d/f\n"
    "RUN --mount=type=cache,id=rec-1,target=/e cat /e/f > /said2",
)
runs("cache-owner", "RUN --mount=type=cache,id=rec-2,target=/c,mode=0750,uid=7,gid=8 stat -c '%a %u %g' /c > /said")
runs("cache-owner-alone", "RUN --mount=type=cache,id=rec-3,target=/c,uid=7 stat -c '%a %u %g' /c > /said")
runs("cache-readonly", "RUN --mount=type=cache,id=rec-4,target=/c,ro touch /c/x || echo ro > /said")
runs(
    "cache-from",
    "RUN --mount=type=cache,id=rec-5,target=/c,from=st,source=/d (stat -c '%a %u %g' /c; head -1 /c/e/f) > /said",
    before=STAGE,
)
runs("cache-locked", "RUN --mount=type=cache,id=rec-6,target=/c,sharing=locked touch /c/x; ls /c > /said")
runs("cache-private", "RUN --mount=type=cache,id=rec-7,target=/c,sharing=PRIVATE touch /c/x; ls /c > /said")
runs(
    "cache-twice",
    "RUN --mount=type=cache,id=rec-8,target=/c --mount=type=cache,id=rec-8,target=/d echo x > /c/f; cat /d/f > /said",
)
fails("cache-source-without-from", "RUN --mount=type=cache,id=rec-9,target=/c,source=/nope true")
fails("cache-unknown-sharing", "RUN --mount=type=cache,target=/c,sharing=mine true")
fails("cache-size", "RUN --mount=type=cache,target=/c,size=1m true")

# tmpfs
runs("tmpfs", "RUN --mount=type=tmpfs,target=/t/u stat -c '%a %u %g' /t/u > /said; touch /t/u/x")
runs(
    "tmpfs-over-directory", "RUN --mount=type=tmpfs,target=/home stat -c '%a %u %g' /home > /said; ls -A /home >> /said"
)
runs(
    "tmpfs-size",
    "RUN --mount=type=tmpfs,target=/t,size=64k dd if=/dev/zero of=/t/x bs=1024 count=100; stat -c %s /t/x > /said",
)
runs("tmpfs-readonly", "RUN --mount=type=tmpfs,target=/t,ro touch /t/x || echo ro > /said")
fails("tmpfs-mode", "RUN --mount=type=tmpfs,target=/t,mode=0700 true")
fails("tmpfs-size-malformed", "RUN --mount=type=tmpfs,target=/t,size=much true")

# secrets and agents
SECRETS = {"secrets": {"k": "value\n", "other": "two"}}
runs(
    "secret",
    "RUN --mount=type=secret,id=k (stat -c '%a %u %g' /run/secrets/k; wc -c < /run/secrets/k) > /said; touch /run",
    **SECRETS,
)
runs(
    "secret-look",
    "WORKDIR /w\nRUN --mount=type=secret,id=k,target=x/k,mode=0444,uid=5,gid=6 stat -c '%a %u %g' x/k > /said",
    **SECRETS,
)
runs("secret-for-a-user", "USER app\nRUN --mount=type=secret,id=k,uid=1000,target=/k wc -c < /k > /tmp/said", **SECRETS)
runs(
    "secret-env",
    "RUN --mount=type=secret,id=other,env=T --mount=type=secret,id=k,env=HOME env | sort | tr -d aeiou > /said",
    **SECRETS,
)
runs(
    "secret-env-and-file",
    "RUN --mount=type=secret,id=other,env=T,target=/t echo ${#T} > /said; wc -c < /t >> /said",
    **SECRETS,
)
runs(
    "secret-missing",
    "RUN --mount=type=secret,id=none,target=/x/y ls / > /said\n"
    "RUN --mount=type=secret,id=none,env=N echo ${N-unset} > /said2",
)
runs("secret-target-alone", "RUN --mount=type=secret,target=/x/k wc -c < /x/k > /said", **SECRETS)
runs(
    "secret-read-only", "RUN --mount=type=secret,id=k echo x > /run/secrets/k || echo ro > /said; touch /run", **SECRETS
)
fails("secret-required", "RUN --mount=type=secret,id=none,required true")
fails("secret-required-env", "RUN --mount=type=secret,id=none,required=true,env=N true")
fails("secret-nameless", "RUN --mount=type=secret true")
fails("secret-twice-named", "RUN --mount=type=secret,id=a,source=b true")
fails("secret-from", "RUN --mount=type=secret,id=a,from=st true", before=STAGE)
runs("ssh-missing", "RUN --mount=type=ssh env | sort > /said; ls -A /run >> /said")
runs("ssh-socket-of-the-file", "ENV SSH_AUTH_SOCK=/mine\nRUN --mount=type=ssh,id=x,target=/s env | sort > /said")
fails("ssh-required", "RUN --mount=type=ssh,required true")
fails("ssh-source", "RUN --mount=type=ssh,source=x true")

# flags
fails("mount-unknown-type", "RUN --mount=type=volume,target=/x true")
fails("mount-unknown-key", "RUN --mount=target=/x,colour=red true")
fails("mount-no-value", "RUN --mount=target true")
fails("mount-empty", "RUN --mount= true")
fails("mount-required-on-bind", "RUN --mount=target=/x,required true")
fails("flag-unknown", "RUN --volume=/x true")
