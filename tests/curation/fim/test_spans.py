"""Draws, pieces and middles: what is cut, where, and that nothing is lost."""

from __future__ import annotations

import sysconfig
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import patience
from real.assets import qwen3_tokenizer
from seedbed.curation.fim import syntax
from seedbed.curation.fim.draws import Draws
from seedbed.curation.fim.pieces import halves, pieces, token_counter
from seedbed.curation.fim.spans import Mix, choose, lines_only
from seedbed.curation.repositories.languages import languages
from seedbed.tokenizer.tokenizer import Tokenizer

_CHARACTERS = st.sampled_from(["a", "b", " ", "\t", "\n", "\r", "é", "世", "😀", "\ufeff"]) | st.characters()
_LINES = st.sampled_from(["x = 1\n", "\r\n", "    y\r\n", "\n", "def f():\n", "é\n"])
_TEXTS = st.text(_CHARACTERS, max_size=200) | st.lists(_LINES, max_size=60).map("".join)
_EVERYTHING = Mix(character=1, syntax=0), Mix(character=0, syntax=0), Mix()


def test_draws_depend_on_their_key_only() -> None:
    first = Draws("fim", 1, "app/a.py", 0)
    other = Draws("fim", 1, "app/a.py", 0)
    assert [first.below(1000) for _ in range(20)] == [other.below(1000) for _ in range(20)]
    assert Draws("fim", 1, "app/a.py", 1).uniform() != Draws("fim", 1, "app/a.py", 0).uniform()
    assert Draws("a", "b").uniform() != Draws("ab").uniform()


def test_draws_are_uniform() -> None:
    draws = Draws("uniform")
    counts = Counter(draws.below(10) for _ in range(20_000))
    # Chi-squared with 9 degrees of freedom is below 27.9 with a probability of 99.9 %.
    assert sum((count - 2000) ** 2 / 2000 for count in counts.values()) < 27.9
    assert sorted(counts) == list(range(10))


@settings(max_examples=100, deadline=None)
@given(text=_TEXTS, budget=st.integers(1, 120))
def test_pieces_and_long_lines_are_the_text(text: str, budget: int) -> None:
    found, too_long = pieces(text, token_counter(None), budget)
    together = sorted([*found, *too_long])
    assert "".join(text[piece.begin : piece.end] for piece in together) == text
    assert all(piece.tokens <= budget for piece in found)
    assert all(piece.tokens > budget for piece in too_long)
    for piece in found:  # cut after a line end only
        assert piece.end == len(text) or text[piece.end - 1] == "\n"


def test_pieces_are_even_and_begin_at_definitions() -> None:
    function = "def f{}(a, b):\n    x = a + b\n\n    if x:\n        return x\n    return b\n\n\n"
    text = "".join(function.format(number) for number in range(60))
    found, _ = pieces(text, token_counter(None), 400)
    assert all(text[piece.begin :].startswith("def f") for piece in found)
    assert min(piece.tokens for piece in found) > 250


def test_halves_are_the_piece() -> None:
    text = "a\n" * 10 + "b" * 5
    (piece,), _ = pieces(text, token_counter(None), 1000)
    one, other = halves(text, piece)
    assert (one.begin, one.end, other.end) == (0, other.begin, len(text))
    assert one.tokens + other.tokens == piece.tokens
    (line,), _ = pieces("abc", token_counter(None), 10)
    assert halves("abc", line) == [line]


def test_tokens_of_lines_are_about_those_of_the_text() -> None:
    tokenizer = Tokenizer.of_model(qwen3_tokenizer())
    text = Path(syntax.__file__).read_text(encoding="utf-8")
    exact = len(tokenizer.encode(text))
    lines = text.splitlines(keepends=True)
    assert exact <= sum(token_counter(tokenizer)(lines)) <= 1.15 * exact


@settings(max_examples=100, deadline=None)
@given(piece=_TEXTS, key=st.integers(0, 1000), mix=st.sampled_from(_EVERYTHING))
def test_middles_are_never_empty_blank_whole_or_within_a_line_end(piece: str, key: int, mix: Mix) -> None:
    span = choose(piece, Draws(key), None, mix)
    if span is None:
        return
    middle = piece[span.begin : span.end]
    assert 0 <= span.begin < span.end <= len(piece)
    assert not middle.isspace()
    assert middle != piece
    for at in (span.begin, span.end):
        assert not (0 < at < len(piece) and piece[at - 1 : at + 1] == "\r\n")


def test_lines_end_before_the_line_end_and_begin_with_a_word() -> None:
    piece = "def f():\r\n\r\n    a = 1\r\n    b = 2\r\n    return a\r\n"
    for key in range(200):
        span = lines_only(piece, Draws(key))
        assert span is not None
        assert piece[: span.begin].endswith(("\r\n", "\r\n    ")) or span.begin == 0
        assert piece[span.end :].startswith("\r\n")
        assert not piece[span.begin : span.end].startswith("\r\n")


def test_the_kinds_have_their_shares() -> None:
    content = Path(syntax.__file__).read_bytes()
    piece = content.decode()
    tree = syntax.parse(content, languages()["Python"])
    assert tree is not None
    nodes = lambda draws: syntax.candidates(tree, 0, len(content), draws)  # noqa: E731
    counts = Counter(span.kind for key in range(600) if (span := choose(piece, Draws(key), nodes, Mix())) is not None)
    # 40, 40 and 20 %, each within four standard deviations of 600 draws.
    assert abs(counts["character"] - 240) < 48
    assert abs(counts["syntax"] - 240) < 48
    assert abs(counts["line"] - 120) < 39


def test_without_a_grammar_characters_and_lines_take_the_place_of_nodes() -> None:
    piece = "fun main() {\n    println(1)\n}\n" * 5
    counts = Counter(span.kind for key in range(300) if (span := choose(piece, Draws(key), None, Mix())) is not None)
    assert set(counts) == {"character", "line"}
    assert counts["character"] > counts["line"]


SAMPLES = {
    "Python": "class A:\n    def f(self, a, b):\n        # add\n        if a:\n            return [a]\n        return g(a, b)\n",
    "JavaScript": "function f(a, b) {\n  // add\n  if (a) { return [a, b]; }\n  return g(a, b);\n}\n",
    "TypeScript": "function f(a: number, b: number): number {\n  // add\n  if (a) { return b; }\n  return g(a, b);\n}\n",
    "TSX": "const A = (p: P) => {\n  // show\n  return <b>{f(p.a, 1)}</b>;\n};\n",
    "Go": "package a\n\nfunc f(a int, b int) int {\n\t// add\n\tif a > 0 {\n\t\treturn b\n\t}\n\treturn g(a, b)\n}\n",
    "Rust": "fn f(a: i32, b: i32) -> i32 {\n    // add\n    if a > 0 { return b; }\n    g(a, b)\n}\n",
    "Java": "class A {\n  int f(int a, int b) {\n    // add\n    if (a > 0) { return b; }\n    return g(a, b);\n  }\n}\n",
    "C": "int f(int a, int b) {\n  /* add */\n  if (a) { return b; }\n  return g(a, b);\n}\n",
    "C++": "int f(int a, int b) {\n  // add\n  if (a) { return b; }\n  return g<int>(a, b);\n}\n",
    "Ruby": "def f(a, b)\n  # add\n  if a\n    return [a, b]\n  end\n  g(a, b)\nend\n",
    "Shell": "f() {\n  # add\n  if [ -n \"$1\" ]; then\n    echo \"$1\"\n  fi\n  g \"$(h 1)\"\n}\n",
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_every_grammar_has_middles_of_several_kinds(name: str) -> None:
    content = (SAMPLES[name] * 3).encode()
    tree = syntax.parse(content, languages()[name])
    assert tree is not None
    found: Counter[str] = Counter()
    for key in range(20):
        for kind, spans in syntax.candidates(tree, 0, len(content), Draws(key)).items():
            found[kind] += len(spans)
    assert {"statement", "comment", "body"} <= set(found)
    assert len(found) >= 4


def test_grammars_of_the_table_are_those_of_the_samples() -> None:
    grammars = {row.grammar for row in languages().values() if row.grammar}
    assert grammars == {languages()[name].grammar for name in SAMPLES}


def test_nodes_with_a_syntax_error_are_left_out() -> None:
    broken = b"def f(a:\n    return ((a\n\nx = = 3\n" * 5
    tree = syntax.parse(broken, languages()["Python"])
    assert tree is not None
    for key in range(20):
        for begin, end in (
            each for spans in syntax.candidates(tree, 0, len(broken), Draws(key)).values() for each in spans
        ):
            node = tree.root_node.descendant_for_byte_range(begin, end)
            while node is not None:
                assert not node.is_error
                node = node.parent


def test_deeply_nested_brackets_take_no_time() -> None:
    content = b"f(\n" * 60_000
    tree = syntax.parse(content, languages()["JavaScript"])
    assert tree is not None
    begin = time.process_time()
    syntax.candidates(tree, 0, len(content), Draws("deep"))
    assert time.process_time() - begin < patience.limit(1.25)


def test_the_standard_library_is_cut_without_loss() -> None:
    folder = Path(sysconfig.get_paths()["stdlib"])
    paths = sorted(folder.glob("*.py"))[::6]
    if not paths:
        pytest.skip("the standard library has no source files here")
    for path in paths:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        found, too_long = pieces(text, token_counter(None), 600)
        assert "".join(text[each.begin : each.end] for each in sorted([*found, *too_long])) == text
