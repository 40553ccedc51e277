"""The package has no import cycle, not even through imports inside functions or for types only."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src" / "seedbed"


def module_name(path: Path) -> str:
    parts = ("seedbed", *path.relative_to(SRC).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(source: str, known: Iterable[str]) -> set[str]:
    """The modules among `known` that a source file imports anywhere, in functions and for types too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            members = {f"{node.module}.{name.name}" for name in node.names}
            submodules = members.intersection(known)
            found |= submodules if len(submodules) == len(members) else submodules | {node.module}
    return found.intersection(known)


def cycles(graph: Mapping[str, set[str]]) -> set[frozenset[str]]:
    """The largest groups of modules that all import each other, directly or through others."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for target in graph[waiting.pop()] - seen:
                seen.add(target)
                waiting.append(target)
        reached[start] = seen
    found = {name: frozenset(other for other in reached[name] if name in reached[other]) for name in graph}
    return {group for group in found.values() if group}


def test_there_are_no_import_cycles() -> None:
    files = {module_name(path): path for path in SRC.rglob("*.py")}
    found = cycles({name: imported(path.read_text(encoding="utf-8"), files) for name, path in files.items()})
    assert found == set(), f"import cycles: {[sorted(group) for group in found]}"


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, set()),
        ({"a": {"a"}}, {frozenset({"a"})}),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, {frozenset({"b", "c"})}),
    ],
)
def test_cycles_are_found(graph: dict[str, set[str]], expected: set[frozenset[str]]) -> None:
    assert cycles(graph) == expected


def test_imports_in_functions_and_for_types_count() -> None:
    source = "from x import y\nif TYPE_CHECKING:\n    import z\ndef f():\n    from x.y import g\n"
    assert imported(source, {"x", "x.y", "z", "w"}) == {"x.y", "z"}
