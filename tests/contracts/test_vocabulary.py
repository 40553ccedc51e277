"""Names that only certain modules may use, and limits on the sizes of files and functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src" / "seedbed"
FILES = sorted(SRC.rglob("*.py"))

# A dotted name, and the modules (file or folder below seedbed/) that may use it.
ALLOWED_IN = {
    "torch.distributed": ("distributed.py",),
    "os.replace": ("files.py",),
    "os.rename": ("files.py",),
    "os.fsync": ("files.py",),
    "fcntl.flock": ("locks.py",),
    "torch.save": (),
    "torch.load": (),
    "pickle": (),
    "safetensors.torch.save_file": ("checkpoint/tensors.py", "export/"),
    "safetensors.torch.save": ("checkpoint/tensors.py", "export/"),
    "safetensors.numpy.save_file": ("checkpoint/tensors.py", "export/"),
    "print": ("cli/",),
    "wandb": ("plugins/wandb.py",),
    "os.environ": ("config/environment.py", "distributed.py"),
    "os.getenv": ("distributed.py",),
    "torch.manual_seed": ("train/seed.py",),
    "eval": (),
    "exec": (),
}

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 80
# Exceptions to the sizes. This list may only shrink.
LONGER_FILES: dict[str, int] = {}
LONGER_FUNCTIONS: dict[str, int] = {}


def module_path(path: Path) -> str:
    return path.relative_to(SRC).as_posix()


def dotted_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every dotted name that is loaded, called or imported, with its line; aliases of imports are resolved."""
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                aliases[name.asname or name.name.split(".")[0]] = name.name if name.asname else name.name.split(".")[0]
                yield name.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for name in node.names:
                aliases[name.asname or name.name] = f"{node.module}.{name.name}"
                yield f"{node.module}.{name.name}", node.lineno
    for node in ast.walk(tree):
        parts: list[str] = []
        inner = node
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            yield ".".join([aliases.get(inner.id, inner.id), *reversed(parts)]), inner.lineno


# One test for all modules of a rule: a test for each of 600 modules would cost more than the rules. Problems name the module.
@pytest.fixture(scope="module")
def problems() -> dict[str, list[str]]:
    """What is wrong in the source, by rule. Each module is parsed once, and no tree is kept."""
    found: dict[str, list[str]] = {"names": [], "sizes": [], "docstrings": []}
    for path in FILES:
        here = module_path(path)
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        found["names"] += wrong_names(here, tree)
        found["sizes"] += wrong_sizes(here, text, tree)
        if not ast.get_docstring(tree):
            found["docstrings"].append(f"{here} has no docstring")
    return found


def wrong_names(here: str, tree: ast.AST) -> Iterator[str]:
    used = list(dotted_names(tree))
    for restricted, allowed_in in ALLOWED_IN.items():
        if any(here == allowed or (allowed.endswith("/") and here.startswith(allowed)) for allowed in allowed_in):
            continue
        for line in sorted({line for name, line in used if name == restricted or name.startswith(restricted + ".")}):
            yield f"{here}:{line} uses {restricted!r}, which is allowed in {', '.join(allowed_in) or 'no module'} only"


def wrong_sizes(here: str, text: str, tree: ast.AST) -> Iterator[str]:
    length = text.count("\n")
    if length > LONGER_FILES.get(here, MAX_FILE_LINES):
        yield f"{here} has {length} lines; split it"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            if size > LONGER_FUNCTIONS.get(f"{here}:{node.name}", MAX_FUNCTION_LINES):
                yield f"{here}:{node.lineno} {node.name} has {size} lines"


def test_restricted_names_are_used_only_in_their_modules(problems: dict[str, list[str]]) -> None:
    assert not problems["names"], "\n".join(problems["names"])


def test_files_and_functions_stay_within_their_size_limits(problems: dict[str, list[str]]) -> None:
    assert not problems["sizes"], "\n".join(problems["sizes"])


def test_every_module_has_a_docstring(problems: dict[str, list[str]]) -> None:
    assert not problems["docstrings"], "\n".join(problems["docstrings"])


def test_no_module_has_a_generic_name() -> None:
    banned = {"utils", "common", "helpers", "misc", "core", "legacy"}
    named = [module_path(p) for p in SRC.rglob("*") if p.stem in banned or p.stem.endswith("_v2")]
    assert not named, named


@pytest.mark.parametrize(
    ("source", "restricted"),
    [
        ("from os import replace\nreplace('a', 'b')", "os.replace"),
        ("import os as system\nsystem.environ['A']", "os.environ"),
        ("from torch import distributed as d\nd.init()", "torch.distributed"),
        ("print('x')", "print"),
        ("import safetensors.torch as st\nst.save_file({}, 'x')", "safetensors.torch.save_file"),
    ],
)
def test_aliases_of_imports_are_resolved(source: str, restricted: str) -> None:
    assert any(name == restricted or name.startswith(restricted + ".") for name, _ in dotted_names(ast.parse(source)))
