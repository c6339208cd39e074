"""The rooms of the package, the arrows between them, and the budgets, read from the source.

Every import counts: also one inside a function, and one under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "aws_signing_proxy"
SOURCE = Path(__file__).resolve().parent.parent / "src" / PACKAGE
TESTS = Path(__file__).resolve().parent

# From top to bottom. A room imports from those below it; those in one line may import from each other, one way.
LAYERS = (
    {"__main__"},
    {"cli"},
    {"demo", "check"},
    {"running", "app", "data_plane", "connections", "credential_sources", "payload_choice"},
    {"management", "workers"},
    {"proxy"},
    {"credentials", "upstream", "observe"},
    {"sigv4", "http1", "tls"},
    {"errors", "no_proxy"},
)
LEVEL = {room: level for level, rooms in enumerate(reversed(LAYERS)) for room in rooms}
READERS_OF_CONFIG = {
    *("running", "app", "data_plane", "connections", "credential_sources", "payload_choice"),
    *("cli", "check", "demo", "config"),
}
# sigv4 takes bytes and pairs, not a request object, so the two never meet.
STRANGERS = [("sigv4", "http1"), ("http1", "sigv4")]

# A notation that the settings and those who fetch credentials must read alike.
SHARED_WITH_CONFIG = {"no_proxy"}

PURE_ROOMS = ("sigv4", "http1", "no_proxy")
# Clock, environment, event loop, logging, chance, network, files.
IMPURE_MODULES = {
    *("asyncio", "concurrent", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "select"),
    *("selectors", "signal", "socket", "ssl", "structlog", "subprocess", "sys", "tempfile", "threading", "uuid"),
    *("uvloop", "warnings"),
}
# Of these modules only what computes from its arguments.
PURE_PARTS_OF = {"time": {"gmtime"}}
CLOCK_METHODS = {"now", "utcnow", "today"}

MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 60
LONGER_FUNCTIONS = {
    "errors._answer": "a table written as an exhaustive match: one arm for each error code",
}
FEWEST_WORDS_OF_A_TEST = 3


@cache
def modules() -> dict[str, ast.Module]:
    """Return the syntax tree of every module, by its name without the package's."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    return found


def room_of(module: str) -> str:
    return module.partition(".")[0]


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Yield everything that is imported, dotted, as deep as it is written (`a.b.c` for `from a.b import c`)."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=0) if module is not None:
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.ImportFrom():
                raise AssertionError(f"a relative import in line {node.lineno}: write the whole name")


@cache
def arrows() -> dict[str, set[str]]:
    """Return which modules of the package each module imports."""
    known = modules()
    found: dict[str, set[str]] = {}
    for module, tree in known.items():
        targets = set()
        for name in imported_names(tree):
            if name == PACKAGE or name.startswith(f"{PACKAGE}."):
                inside = name.removeprefix(PACKAGE).removeprefix(".")
                # The longest known module: what is behind it is a name in that module.
                while inside not in known:
                    inside = inside.rpartition(".")[0]
                targets.add(inside)
        found[module] = targets - {module}
    return found


def room_arrows() -> list[tuple[str, str, str]]:
    """Return (from room, to room, text for people) for every import that crosses from one room to another."""
    return [
        (room_of(module), room_of(target), f"{module or PACKAGE} imports {target}")
        for module, targets in arrows().items()
        for target in targets
        if target and room_of(module) != room_of(target)
    ]


def test_every_room_is_on_the_plan() -> None:
    assert {room_of(module) for module in modules()} - {""} == set(LEVEL) | {"config"}


def test_no_arrow_points_up() -> None:
    wrong = [
        text
        for source, target, text in room_arrows()
        if target != "config" and source != "config" and LEVEL[target] > LEVEL[source]
    ]
    assert wrong == []


def test_settings_are_read_by_the_composition_only() -> None:
    assert [
        text for source, target, text in room_arrows() if target == "config" and source not in READERS_OF_CONFIG
    ] == []


def test_the_settings_know_nothing_of_the_rest_of_the_program() -> None:
    assert [
        text for source, target, text in room_arrows() if source == "config" and target not in SHARED_WITH_CONFIG
    ] == []


def test_signing_and_http_never_meet() -> None:
    assert [text for source, target, text in room_arrows() if (source, target) in STRANGERS] == []


@pytest.mark.parametrize("of", ["modules", "rooms"])
def test_no_import_leads_back_to_where_it_started(of: str) -> None:
    if of == "modules":
        graph = dict(arrows())
    else:
        graph = {room: set() for room in {*LEVEL, "config"}}
        for source, target, _ in room_arrows():
            graph[source].add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("room", PURE_ROOMS)
def test_pure_rooms_import_no_clock_environment_loop_or_log(room: str) -> None:
    wrong = [
        f"{module} imports {name}"
        for module, tree in modules().items()
        if room_of(module) == room
        for name in imported_names(tree)
        if room_of(name) in IMPURE_MODULES
    ]
    assert wrong == []


@pytest.mark.parametrize("room", PURE_ROOMS)
def test_pure_rooms_are_told_what_time_it_is(room: str) -> None:
    wrong = []
    for module, tree in modules().items():
        if room_of(module) != room:
            continue
        wrong += [
            f"{module} imports {name}"
            for name in imported_names(tree)
            if room_of(name) in PURE_PARTS_OF and "." in name
        ]
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute):
                continue
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            is_impure_part = owner in PURE_PARTS_OF and node.attr not in PURE_PARTS_OF[owner]
            if is_impure_part or node.attr in CLOCK_METHODS:
                wrong.append(f"{module}, line {node.lineno}: {ast.unparse(node)}")
    assert wrong == []


def test_no_file_is_longer_than_its_budget() -> None:
    lengths = {
        str(path.relative_to(SOURCE)): len(path.read_text(encoding="utf-8").splitlines())
        for path in SOURCE.rglob("*.py")
    }
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES_OF_A_FILE} == {}


def longer_functions() -> set[str]:
    return {
        f"{module}.{node.name}"
        for module, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > MOST_LINES_OF_A_FUNCTION
    }


def test_no_function_is_longer_than_its_budget_without_a_reason() -> None:
    assert longer_functions() == set(LONGER_FUNCTIONS)


def test_no_module_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "base"}
    assert [module for module in modules() if drawers & set(module.split("."))] == []


def test_the_name_or_docstring_of_every_test_is_a_sentence() -> None:
    short = []
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
                continue
            words = len(node.name.removeprefix("test_").split("_"))
            if words < FEWEST_WORDS_OF_A_TEST and not ast.get_docstring(node):
                short.append(f"{path.relative_to(TESTS)}: {node.name}")
    assert short == []
