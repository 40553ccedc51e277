"""Tests of how texts are scanned: places of finds, overlaps, blocks, and ordinary code."""

from __future__ import annotations

import itertools
import random
import sysconfig
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import patience
from planted_secrets import filled
from seedbed.curation.redaction import scanner
from seedbed.curation.redaction.rules import rule_table
from seedbed.curation.redaction.scanner import Scanner

SCANNER = Scanner(rule_table())
TOKEN = filled("ghp_{A*36}")
FALSE_PER_MB = 5.0


@settings(max_examples=100, deadline=None)
@given(before=st.text(), after=st.text())
def test_a_token_is_found_at_its_place_in_any_text(before: str, after: str) -> None:
    text = f"{before} {TOKEN} {after}"
    spans = [span for span in SCANNER.spans(text) if span.rule.id == "github-personal-token"]
    assert [text[span.start : span.end] for span in spans] == [TOKEN]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([TOKEN, "x@acme.io", " ", "\n", "password=", "é", "://a:", "@", "eyJ", "<EMAIL_1>"])))
def test_spans_are_in_order_and_do_not_overlap(pieces: list[str]) -> None:
    text = "".join(pieces)
    spans = SCANNER.spans(text)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert all(first.end <= second.start for first, second in itertools.pairwise(spans))


def test_a_token_across_two_blocks_of_the_scan_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner, "_BLOCK", 64)
    for shift in range(70):
        text = "." * shift + TOKEN + "." * 100 + filled("sk-{A*20}T3BlbkFJ{A*20}")
        assert [span.start for span in SCANNER.spans(text)] == [shift, shift + len(TOKEN) + 100]


def test_finds_that_overlap_become_one_with_the_more_special_rule() -> None:
    text = f"https://me:{TOKEN}@github.com/acme/app.git"
    spans = SCANNER.spans(text)
    assert [(text[span.start : span.end], span.rule.id) for span in spans] == [(TOKEN, "github-personal-token")]


def test_a_private_key_is_found_whole_also_within_a_string_of_source_code() -> None:
    key = filled("-----BEGIN OPENSSH PRIVATE KEY-----\n{B*70}\n{B*70}\n{B*30}==\n-----END OPENSSH PRIVATE KEY-----")
    for text in (key, key.replace("\n", "\\n"), key.replace("\n", "\r\n"), key.replace("\n", '\\n"\n+ "')):
        spans = SCANNER.spans(f"key = {text};")
        assert [(span.start, span.end) for span in spans] == [(6, 6 + len(text))]


def test_keys_with_headers_and_checksums_are_found_whole() -> None:
    encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,{H*32}\n\n{B*64}\n{B*64}\n{B*9}\n"
    block = "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2\n\n{B*64}\n{B*64}\n{B*21}=\n={B*4}\n"
    for template in (f"{encrypted}-----END RSA PRIVATE KEY-----", f"{block}-----END PGP PRIVATE KEY BLOCK-----"):
        key = filled(template)
        for text in (key, "\n".join(f"+{line}" for line in key.split("\n"))[1:]):
            spans = SCANNER.spans(f"a {text} b")
            assert [(span.start, span.end) for span in spans] == [(2, 2 + len(text))]


def test_a_piece_of_a_file_that_begins_or_ends_within_a_key_keeps_nothing_of_it() -> None:
    lines = [filled("{B*64}", n) for n in range(14)]
    for width in (64, 70):
        body = ["".join(lines)[at : at + width] for at in range(0, 800, width)]
        for prefix in ("", "+", " ", "    "):
            key = "\n".join(
                f"{prefix}{line}" for line in ["-----BEGIN PRIVATE KEY-----", *body, "-----END PRIVATE KEY-----"]
            )
            whole = f"before = 1\n{key}\nafter = 2\n".split("\n")
            for first in range(len(whole) - 3):
                for last in range(first + 3, len(whole)):
                    text = "\n".join(whole[first:last]) + "\n"
                    left = text
                    for span in reversed(SCANNER.spans(text)):
                        left = left[: span.start] + left[span.end :]
                    shown = [line for line in body if line in left]
                    assert len(shown) <= (1 if last - first <= 3 else 0), (width, prefix, first, last, left)


def test_blocks_of_certificates_and_lists_of_hashes_are_left() -> None:
    body = "\n".join(filled("{B*64}", n) for n in range(20))
    assert SCANNER.spans(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n") == []
    assert SCANNER.spans(f"{body}\n-----END CERTIFICATE-----\n") == []
    assert SCANNER.spans(f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{body}\n") == []
    assert SCANNER.spans("\n".join(filled("{H*64}", n) for n in range(20)) + "\n") == []
    for width in (60, 72, 76):
        assert SCANNER.spans("\n".join(filled(f"{{B*{width}}}", n) for n in range(20)) + "\n") == []


def test_the_marker_of_a_key_in_code_takes_nothing_with_it() -> None:
    lines = (
        'MARK = "-----BEGIN PRIVATE KEY-----"\nEND = "-----END PRIVATE KEY-----"\n'
        + "def function_of_a_long_name():\n    return 1\n" * 9
    )
    assert SCANNER.spans(lines) == []


def test_what_is_left_of_a_key_that_was_cut_off_is_found() -> None:
    text = filled("-----BEGIN EC PRIVATE KEY-----\n{B*64}\n{B*64}")
    assert [(span.start, span.end) for span in SCANNER.spans(text)] == [(0, len(text))]


def test_random_values_that_are_no_secrets_are_left() -> None:
    rng = random.Random(7)
    digits = "0123456789abcdef"

    def hexadecimal(count: int) -> str:
        return "".join(rng.choice(digits) for _ in range(count))

    lines = []
    for _ in range(500):
        lines.append(f"{hexadecimal(8)}-{hexadecimal(4)}-4{hexadecimal(3)}-a{hexadecimal(3)}-{hexadecimal(12)}")
        lines.append(f"commit {hexadecimal(40)}")
        lines.append(f'sha256 = "{hexadecimal(64)}",')
        lines.append(filled('"integrity": "sha512-{B*86}==",', len(lines)))
        lines.append(
            filled(
                '{ url = "https://files.pythonhosted.org/packages/{H*2}/{H*2}/{H*60}/x.whl", hash = "sha256:{H*64}" }',
                len(lines),
            )
        )
        lines.append(filled("iVBORw0KGgo{B*76}", len(lines)))
        lines.append(f"index {hexadecimal(7)}..{hexadecimal(7)} 100644")
        lines.append(f"{rng.random()} {rng.randrange(10**12)} {rng.randrange(10**6)}:{rng.randrange(60)}")
    assert [span.rule.id for span in SCANNER.spans("\n".join(lines))] == []


def test_code_of_the_standard_library_is_left() -> None:
    folder = Path(sysconfig.get_paths()["stdlib"])
    paths = sorted(path for path in folder.rglob("*.py") if "site-packages" not in path.parts)[::8][:220]
    if len(paths) < 100:
        pytest.skip("the standard library has no sources here")
    found: Counter[str] = Counter()
    megabytes = 0.0
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="replace")
        megabytes += len(text) / 1e6
        found.update(span.rule.id for span in SCANNER.spans(text))
    people = found.pop("e-mail", 0) + found.pop("author-name", 0)
    assert people > 0  # the authors of modules, whose addresses stand there
    assert found.total() / megabytes <= FALSE_PER_MB, found
    secrets = {rule.id for rule in rule_table() if not rule.personal}
    assert sum(count for rule, count in found.items() if rule in secrets) / megabytes <= 0.5, found


@pytest.mark.parametrize(
    "hostile",
    ["eyJ" * 60_000, "-eyJ" * 50_000, "sk-" * 60_000, "@" * 200_000, "a@" * 100_000, "0.0" * 60_000, "+1" * 100_000,
     "password=" * 20_000, "-----BEGIN PRIVATE KEY-----" * 2_000, "://a:" * 40_000, "a:a:" * 50_000, "curl " * 40_000,
     "A b " * 50_000, "postgres://a:" * 15_000, "(555) " * 30_000, "\\" * 200_000, "author: A" * 20_000, "AP0" * 60_000,
     ("aB3" * 21 + "c\n") * 4_000, "-----END PRIVATE KEY-----\n" * 8_000, "cookie: a=" * 20_000, ":1234:a" * 30_000],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_no_text_takes_long(hostile: str) -> None:
    began = time.process_time()
    SCANNER.spans(hostile)
    assert time.process_time() - began < patience.limit(1)


def test_a_long_text_needs_little_memory() -> None:
    import tracemalloc

    text = "def f(x):\n    return x + 1\n" * 200_000
    tracemalloc.start()
    SCANNER.spans(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * len(text)
