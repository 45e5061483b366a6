"""The house stands as its plan says: imports point down, pure modules stay pure, nothing grows past its size.

Read by AST from the sources, so that nothing is imported and the whole check takes a moment.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import bennu

SOURCE = Path(bennu.__file__).parent

FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "config", "digest"),
    ("dockerfile", "compose", "oci", "host"),
    ("store",),
    ("runtime", "registry", "switch"),
    ("engine",),
    ("deploy", "build"),
    ("wiring",),
    ("cli", "web"),
)
"""From the ground up. A package imports from floors below its own and from itself; the ground floor from itself."""

SAME_FLOOR = {
    ("dockerfile", "oci"),
    ("compose", "oci"),
    ("config", "errors"),
    ("config", "digest"),
    ("digest", "errors"),
}
"""Who may look over to a neighbour: the OCI shapes are vocabulary, and so are errors."""

PURE = (
    "bennu.errors", "bennu.digest",
    "bennu.oci.*", "bennu.dockerfile.*", "bennu.compose.*",
    "bennu.runtime.spec", "bennu.switch.config", "bennu.switch.model",
    "bennu.engine.sets", "bennu.engine.actions", "bennu.engine.snapshots", "bennu.engine.survey",
    "bennu.engine.embedded.expecting",
    "bennu.deploy.drift.comparison", "bennu.deploy.drift.kinds", "bennu.deploy.drift.text",
    "bennu.deploy.drift.mending",
    "bennu.deploy.planning.plan", "bennu.deploy.states", "bennu.deploy.rollout", "bennu.deploy.release",
    "bennu.cli.command", "bennu.cli.parser",
)  # fmt: skip
"""Modules that do no I/O, never log, take time as an argument and import nothing of ``host``.

These must be so; a module whose docstring says "Pure" of itself is held to the same.
"""

LOADERS = ("bennu.compose.load", "bennu.compose.sources")
"""Inside pure packages: the modules whose one job is to read the files, named here so that no other starts to."""

WORDS_OF_HOST = {("bennu.runtime.firewall", "bennu.host.nftables"), ("bennu.switch.datagrams", "bennu.host.nftables")}
"""Pure modules that take a text from a module of ``host``: the statements that open an nftables transaction."""

IMPURE = {
    "asyncio", "ctypes", "fcntl", "glob", "http", "io", "logging", "mmap", "os", "random", "secrets", "select",
    "selectors", "shutil", "socket", "sqlite3", "subprocess", "tempfile", "threading", "time", "urllib3",
    "urllib.request",
}  # fmt: skip
IMPURE_CALLS = {"open", "print", "input"}
IMPURE_METHODS = {"now", "utcnow", "today", "read_text", "read_bytes", "write_text", "write_bytes"}

HEAVY = {"rich", "urllib3", "asyncio", "yaml", "sqlite3", "ctypes", "msgspec", "subprocess"}
"""Not at import time of a verb's module or of the frame: start-up is a feature."""

MODULE_LINES = 500
FUNCTION_LINES = 60
NOBODY = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


@dataclass(frozen=True)
class Module:
    name: str
    path: Path
    tree: ast.Module
    lines: int

    @property
    def part(self) -> str:
        """The part of the house that it belongs to: the first name below ``bennu``."""
        return [*self.name.split("."), ""][1]


@dataclass(frozen=True)
class Import:
    target: str
    line: int
    is_top: bool
    is_for_types: bool


@cache
def modules() -> tuple[Module, ...]:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        text = path.read_text()
        name = ".".join(part for part in parts if part != "__init__")
        found.append(Module(name, path, ast.parse(text), text.count("\n")))
    return tuple(found)


def by_name(module: Module) -> str:
    return module.name


every_module = pytest.mark.parametrize("module", modules(), ids=by_name)


def imports(module: Module) -> Iterator[Import]:
    """Every import, wherever it stands. ``from a import b`` counts as ``a.b`` where that is a module."""
    names = {each.name for each in modules()}

    def walk(node: ast.AST, *, is_top: bool, is_for_types: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(each.name, child.lineno, is_top, is_for_types) for each in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{module.name}:{child.lineno}: imports are absolute"
                for each in child.names:
                    whole = f"{child.module}.{each.name}"
                    yield Import(whole if whole in names else str(child.module), child.lineno, is_top, is_for_types)
            else:
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                types = isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
                yield from walk(child, is_top=is_top and not inside, is_for_types=is_for_types or types)

    yield from walk(module.tree, is_top=True, is_for_types=False)


def floor_of(part: str) -> int | None:
    return next((number for number, parts in enumerate(FLOORS) if part in parts), None)


def is_pure(module: Module) -> bool:
    packages = tuple(name[:-1] for name in PURE if name.endswith("*"))
    inside = module.name.startswith(packages) or module.name + "." in packages
    claims = re.search(r"(^|[.\n] ?)Pure[.;:]", ast.get_docstring(module.tree) or "")
    return bool(inside or claims or module.name in PURE) and module.name not in LOADERS


@every_module
def test_it_belongs_to_a_floor(module: Module):
    assert module.part in ("", "__main__") or floor_of(module.part) is not None


@every_module
def test_imports_point_down(module: Module):
    if module.part in ("", "__main__"):
        return
    own = floor_of(module.part)
    assert own is not None
    for each in imports(module):
        if not each.target.startswith("bennu."):
            continue
        part = each.target.split(".")[1]
        floor = floor_of(part)
        assert floor is not None, f"line {each.line}: {each.target} is on no floor"
        down = floor < own or part == module.part or (module.part, part) in SAME_FLOOR
        assert down, f"line {each.line}: {module.part} imports {each.target}, which is not below it"


@every_module
def test_pure_modules_do_no_io(module: Module):
    if not is_pure(module):
        return
    for each in imports(module):
        target = each.target
        if each.is_for_types or (module.name, target) in WORDS_OF_HOST:
            continue
        assert not target.startswith("bennu.host"), f"line {each.line}: a pure module imports {target}"
        assert target not in LOADERS, f"line {each.line}: a pure module imports a loader, {target}"
        assert target not in IMPURE, f"line {each.line}: a pure module imports {target}"
        assert target.partition(".")[0] not in IMPURE, f"line {each.line}: a pure module imports {target}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in IMPURE_CALLS, f"line {node.lineno}: a pure module calls {node.func.id}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in IMPURE_METHODS, f"line {node.lineno}: a pure module calls {node.func.attr}"


def test_the_tables_of_this_test_name_modules_that_exist():
    names = {each.name for each in modules()}
    for name in (*LOADERS, *(name for pair in WORDS_OF_HOST for name in pair)):
        assert name in names
    for name in PURE:
        assert name.removesuffix(".*") in names, name


STARTERS = {"Popen", "run", "call", "check_call", "check_output"}


def test_processes_and_the_kernel_are_reached_through_host():
    for module in modules():
        if module.part == "host":
            continue
        assert all(each.target.partition(".")[0] != "ctypes" for each in imports(module)), module.name
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in STARTERS:
                assert ast.unparse(node.func.value) != "subprocess", f"{module.name}:{node.lineno}"


ENGINE_WORDS = tuple(f"bennu.engine.{name}" for name in ("base", "clock", "sets", "actions", "snapshots", "survey"))


def test_deploy_knows_no_particular_engine():
    for module in modules():
        if module.part == "deploy":
            for each in imports(module):
                assert each.target in ENGINE_WORDS or not each.target.startswith("bennu.engine"), (
                    f"{module.name}:{each.line}: {each.target}"
                )


@every_module
def test_the_command_line_starts_light(module: Module):
    if module.part != "cli":
        return
    commands = any(
        isinstance(node, ast.Assign | ast.AnnAssign)
        and "COMMAND" in ast.unparse(node).split("=")[0].split(":")[0].split()
        for node in module.tree.body
    )
    for each in imports(module):
        if not each.is_top or each.is_for_types:
            continue
        assert each.target.partition(".")[0] not in HEAVY, f"line {each.line}: {each.target} at import time"
        if commands and each.target.startswith("bennu."):
            assert each.target.split(".")[1] in {"cli", "errors", "config", "digest"}, (
                f"line {each.line}: a verb's module imports {each.target} before it is run"
            )


@every_module
def test_sizes(module: Module):
    assert module.lines <= MODULE_LINES
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= FUNCTION_LINES, f"line {node.lineno}: {node.name} has {lines} lines"


@every_module
def test_it_has_a_name_and_says_what_it_is(module: Module):
    assert not set(module.name.split(".")) & NOBODY
    assert ast.get_docstring(module.tree)
