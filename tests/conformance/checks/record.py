"""Records what a Docker finds in the cases: ``python record.py DIRECTORY COMMAND...``, such as ``/tmp/x docker``.

DIRECTORY is a place for contexts that the command sees under the same path. Writes ``recorded.json``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.conformance.checks.cases import RECORDED, Case, cases
from tests.conformance.checks.images import DOCKERFILES


def main(directory: Path, command: list[str]) -> None:
    (directory / "file").write_text("x")
    for name, text in DOCKERFILES.items():
        platform = ["--platform", "linux/arm64"] if name.endswith("arm") else []
        (directory / "Dockerfile").write_text(text)
        subprocess.run([*command, "build", "-q", *platform, "-t", name, str(directory)], check=True)
    version = subprocess.run([*command, "version", "--format", "{{.Server.Version}}"], check=True, capture_output=True)
    found = {case.name: found_in(case, directory, command) for case in cases() if case.later is None}
    outlines = {case.name: outlines_of(case, directory, command) for case in cases("outlines.txt")}
    document = {"builder": f"Docker {version.stdout.decode().strip()}", "cases": found, "outlines": outlines}
    RECORDED.write_text(json.dumps(document, indent=1) + "\n")


def outlines_of(case: Case, directory: Path, command: list[str]) -> dict[str, object]:
    (directory / "Dockerfile").write_text(case.text)
    (directory / ".dockerignore").write_text("")
    words = [f"--build-arg={name}={value}" for name, value in case.args.items()]
    words += [f"--target={case.target}"] if case.target else []
    found: dict[str, object] = {}
    for call in ("outline", "targets"):
        words_of_call = [*command, "build", f"--call={call},format=json", *words, str(directory)]
        done = subprocess.run(words_of_call, check=True, capture_output=True)
        found[call] = {name: value for name, value in json.loads(done.stdout).items() if name != "sources"}
    return found


def found_in(case: Case, directory: Path, command: list[str]) -> list[str]:
    (directory / "Dockerfile").write_text(case.text)
    (directory / ".dockerignore").write_text("".join(f"{pattern}\n" for pattern in case.ignore))
    words = [f"--build-arg={name}={value}" for name, value in case.args.items()]
    words += [f"--target={case.target}"] if case.target else []
    words += [f"--platform={case.platform}"] if case.platform != "linux/amd64" else []
    done = subprocess.run(
        [*command, "build", "--call=check,format=json", *words, str(directory)], check=False, capture_output=True
    )
    if not done.stdout:
        return [f"error {done.stderr.decode().strip().splitlines()[-1]}"]
    document = json.loads(done.stdout)
    lines = [(each["ruleName"], each["location"]["ranges"][0]["start"]["line"]) for each in document["warnings"] or ()]
    error = document.get("buildError")
    return [f"{rule}:{line}" for rule, line in lines] + ([f"error {error['message']}"] if error else [])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
