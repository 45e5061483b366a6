"""The wheel: all that bennu is, none of its tests, and a command that runs from it alone."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from bennu import __version__

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, timeout=120)
    (made,) = place.glob("*.whl")
    return made


def test_it_is_named_by_the_version(wheel: Path):
    assert wheel.name == f"bennu-{__version__}-py3-none-any.whl"
    assert metadata.version("bennu") == __version__


def test_it_holds_every_module_and_nothing_else(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    source = PROJECT / "src"
    modules = {str(path.relative_to(source)) for path in source.rglob("*.py")}
    assert modules <= names
    assert all(name.startswith(("bennu/", f"bennu-{__version__}.dist-info/")) for name in names)
    assert not any("__pycache__" in name for name in names)
    assert f"bennu-{__version__}.dist-info/licenses/LICENSE" in names


def test_its_metadata_says_what_it_needs(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"bennu-{__version__}.dist-info/METADATA").decode()
    fields = email.message_from_string(text)
    assert fields["Requires-Python"] == ">=3.11"
    assert fields["License-Expression"] == "Apache-2.0"
    needed = {line.split(">=")[0] for line in fields.get_all("Requires-Dist") if "extra ==" not in line}
    assert {"msgspec", "PyYAML", "urllib3", "rich", "isal"} <= {name.replace("pyyaml", "PyYAML") for name in needed}


def test_its_command_runs_without_the_checkout(wheel: Path, tmp_path: Path):
    site = tmp_path / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True, timeout=120)
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(site)}
    command = [str(site / "bin" / "bennu")]
    where = subprocess.run(
        [sys.executable, "-c", "import bennu; print(bennu.__file__)"], env=environ, cwd=tmp_path, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(site))
    done = subprocess.run(
        [*command, "--version"], env=environ, cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert done.stdout == f"bennu {__version__}\n"
    done = subprocess.run([*command, "man"], env=environ, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.startswith(".TH BENNU 1")
