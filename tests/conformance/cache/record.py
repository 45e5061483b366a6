"""Records which steps Docker runs in each build: ``record.py WORK [NAME]... -- docker`` writes recorded.json.

``WORK`` is a directory that the daemon's client sees under the same path; what follows ``--`` is how ``docker`` is
called (``nsenter ... docker``). With names, only the cases whose name contains one of them are recorded again.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
from tests.conformance.cache.cases import BOX, CASES, Build, Case, apply, arranged

RECORDED = Path(__file__).with_name("recorded.json")
BASE = "localhost/hcbase:latest"
IMAGES = {
    f"{BOX}:latest": f"FROM {BASE}\n",
    f"{BOX}:relabelled": f"FROM {BASE}\nLABEL other=1\n",
    f"{BOX}:environment": f"FROM {BASE}\nENV OTHER=1\n",
    f"{BOX}:other": f"FROM {BASE}\nCOPY <<E /etc/other\nother\nE\n",
}


class Recorder:
    def __init__(self, work: Path, docker: list[str]) -> None:
        self.work = work
        self.docker = docker

    def images(self) -> None:
        for name, text in IMAGES.items():
            (self.work / "Dockerfile").write_text(text)
            done = subprocess.run(
                [*self.docker, "build", "-q", "-t", name, str(self.work)], capture_output=True, check=False
            )
            assert done.returncode == 0, done.stderr

    def case(self, case: Case) -> list[list[str]]:
        unique = os.urandom(6).hex()
        context = self.work / f"c{unique}"
        arranged(context, case.files)
        text, args = case.text, dict(case.first.args or {})
        self.build(context, text, args, case.first, unique)
        ran = []
        for build in case.builds:
            for old, new in build.text:
                assert old in text, (case.name, old)
                text = text.replace(old, new)
            for op in build.context:
                if op == ("move",):
                    context = context.rename(context.with_name(f"{context.name}moved"))
                else:
                    apply(context, op)
            if build.args is not None:
                args = dict(build.args)
            ran.append(self.build(context, text, args, build, unique))
        subprocess.run(["rm", "-rf", str(context)], check=True)
        return ran

    def build(self, context: Path, text: str, args: dict[str, str], build: Build, unique: str) -> list[str]:
        (context / "Dockerfile").write_bytes(re.sub(r"\bmark\b", f"mark{unique}", text).encode())
        if build.epoch is not None:
            args = {**args, "SOURCE_DATE_EPOCH": str(build.epoch)}
        words = [*self.docker, "build", "--progress=rawjson", "--network=none"]
        for name, value in args.items():
            words += ["--build-arg", f"{name}={value}"]
        if build.target:
            words += ["--target", build.target]
        if build.no_cache:
            words.append("--no-cache")
        if build.secret:
            secret = self.work / "secret"
            secret.write_text(build.secret)
            words.append(f"--secret=id=s,src={secret}")
        done = subprocess.run([*words, str(context)], capture_output=True, text=True, check=False)
        assert (done.returncode != 0) == build.fails, (text, done.stderr[-2000:])
        vertices: dict[str, dict] = {}
        for line in done.stderr.splitlines():
            if line.startswith("{"):
                for each in json.loads(line).get("vertexes") or []:
                    vertices.setdefault(each["digest"], {}).update(each)
        ran = []
        for vertex in vertices.values():
            name = vertex["name"].replace(unique, "")
            is_step = re.match(r"\[[^\]]*\d+/\d+\] (?!FROM)", name)
            if is_step and vertex.get("started") and not vertex.get("cached"):
                ran.append(name)
        return sorted(ran)


def main(words: list[str]) -> int:
    at = words.index("--")
    (work, *names), docker = words[:at], words[at + 1 :]
    Path(work).mkdir(parents=True, exist_ok=True)
    recorder = Recorder(Path(work), docker)
    recorder.images()
    known = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    for case in CASES:
        wanted = any(name in case.name for name in names) if names else case.name not in known
        if wanted:
            try:
                known[case.name] = recorder.case(case)
            except (AssertionError, OSError) as error:
                sys.stderr.write(f"{case.name}: {error}"[:1500] + "\n")
            save(known)
    return 0


def save(known: dict[str, list[list[str]]]) -> None:
    left = {case.name: known[case.name] for case in CASES if case.name in known}
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(ran)}" for name, ran in left.items())
    RECORDED.write_text(f"{{\n{rows}\n}}\n")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
