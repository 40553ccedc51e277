"""Files to documents: every format, every defect, in bounded memory."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from seedbed.data.readers import PIECE_CHARS, UnreadableError, in_pieces, kind_of, read_file

zstandard = pytest.importorskip("zstandard", reason="needs the extra data")
pa = pytest.importorskip("pyarrow", reason="needs the extra data")
pq = pytest.importorskip("pyarrow.parquet")


def texts(path: Path, field: str = "text") -> tuple[list[str], Counter[str]]:
    drops: Counter[str] = Counter()
    return ["".join(document.pieces) for document in read_file(path, kind_of(path), field, drops)], drops


def write(path: Path, content: bytes) -> Path:
    if path.suffix == ".gz":
        content = gzip.compress(content)
    elif path.suffix == ".zst":
        content = zstandard.ZstdCompressor().compress(content)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.TXT", "a.txt.gz", "a.txt.zst", "a.md.gz"])
def test_a_text_file_is_one_document_with_plain_newlines_and_no_mark(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, b"\xef\xbb\xbfFirst \xc3\xa9\r\nsecond\rthird\n")
    assert texts(path) == (["First é\nsecond\nthird\n"], Counter())


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.jsonl.gz", "a.jsonl.zst"])
def test_records_give_their_field_and_count_what_lacks_it(tmp_path: Path, name: str) -> None:
    lines = [
        b'{"body": "one", "id": 1}',
        b"",
        b'{"id": 2}',
        b'{"body": 3}',
        b'{"body": ""}',
        b'{"body": "  \\n"}',
        b'{"body": "two\\r\\nlines"',
        b'{"body": "two\\r\\nlines"}',
        b"[1]",
        b'{"body": "caf\xe9"}',
    ]
    found, drops = texts(write(tmp_path / name, b"\n".join(lines)), "body")
    assert found == ["one", "two\r\nlines"]
    assert drops == Counter({"no text field": 3, "empty": 2, "broken JSON": 1, "not UTF-8": 1})


def test_a_field_may_have_any_name(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"the text": "found", "text": "not this"}) + "\n")
    assert texts(path, "the text")[0] == ["found"]


def test_parquet_gives_its_column(tmp_path: Path) -> None:
    table = pa.table({"text": ["one", None, "", "two"], "id": [1, 2, 3, 4]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    assert texts(tmp_path / "a.parquet") == (["one", "two"], Counter({"no text field": 1, "empty": 1}))


def test_a_parquet_column_that_is_missing_or_no_text_names_what_there_is(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": ["one"], "id": [1]}), tmp_path / "a.parquet")
    with pytest.raises(UnreadableError, match="no column 'text'; it has body, id"):
        texts(tmp_path / "a.parquet")
    with pytest.raises(UnreadableError, match="int64, not text"):
        texts(tmp_path / "a.parquet", "id")


def test_records_without_the_field_name_the_fields_they_have(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"body": "one", "id": 1}\n')
    with pytest.raises(UnreadableError, match="line 1: no field 'text' among body, id") as raised:
        texts(path)
    assert "data.field" in raised.value.hint


@pytest.mark.parametrize(
    ("name", "content", "reason", "says"),
    [
        ("a.txt", b"", "empty", "holds no text"),
        ("a.txt", b" \n\r\n\t", "empty", "holds no text"),
        ("a.txt", b"abc\x00def", "binary", "NUL byte at byte 3"),
        ("a.txt", b"caf\xe9 au lait", "not UTF-8", "byte 0xe9 at byte 3"),
        ("a.txt", b"\xef\xbb\xbfcaf\xe9", "not UTF-8", "byte 0xe9 at byte 6"),
        ("a.txt", "café".encode("utf-16"), "not UTF-8", "UTF-16"),
        ("a.txt", b"cut \xc3", "not UTF-8", "byte 0xc3 at byte 4"),
        ("a.jsonl", b"", "empty", "holds no records"),
        ("a.jsonl", b"\x00\x01", "binary", "NUL byte"),
        ("a.parquet", b"PAR1 not really", "broken parquet", "not a whole parquet file"),
    ],
)
def test_a_bad_file_says_what_and_where(tmp_path: Path, name: str, content: bytes, reason: str, says: str) -> None:
    with pytest.raises(UnreadableError, match=says) as raised:
        texts(write(tmp_path / name, content))
    assert raised.value.reason == reason
    assert name in raised.value.message
    assert raised.value.hint


@pytest.mark.parametrize(("at", "prefix"), [(3_000_000, b""), (3_000_000, b"\xef\xbb\xbf"), ((1 << 20) - 1, b"")])
def test_a_bad_byte_deep_in_a_large_file_is_found_before_any_text_is_given_out(
    tmp_path: Path, at: int, prefix: bytes
) -> None:
    content = bytearray(prefix + b"some words in a line\n" * 200_000)
    content[at] = 0xE9
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UnreadableError, match=f"at byte {at}\\."):
        next(read_file(tmp_path / "a.txt", "text", "text", Counter()))


@pytest.mark.parametrize(("name", "reason"), [("a.txt.gz", "broken gzip"), ("a.txt.zst", "broken zstd")])
@pytest.mark.parametrize("defect", ["cut", "garbage"])
def test_a_broken_archive_is_noticed(tmp_path: Path, name: str, reason: str, defect: str) -> None:
    path = write(tmp_path / name, random.Random(1).randbytes(40_000).hex().encode())
    path.write_bytes(path.read_bytes()[:20_000] if defect == "cut" else b"garbage" * 100)
    with pytest.raises(UnreadableError) as raised:
        texts(path)
    assert raised.value.reason == reason


def test_zstd_frames_one_after_another_are_one_file(tmp_path: Path) -> None:
    frames = [zstandard.ZstdCompressor().compress(part) for part in (b"one\n", b"two\n")]
    (tmp_path / "a.txt.zst").write_bytes(b"".join(frames))
    assert texts(tmp_path / "a.txt.zst")[0] == ["one\ntwo\n"]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.txt.zst"])
def test_a_long_file_comes_in_pieces_cut_between_paragraphs(tmp_path: Path, name: str) -> None:
    whole = "".join(f"Paragraph {index} with é and some words.\r\n\r\n" for index in range(100_000))
    path = write(tmp_path / name, whole.encode())
    (document,) = read_file(path, "text", "text", Counter())
    pieces = list(document.pieces)
    assert "".join(pieces) == whole.replace("\r\n", "\n")
    assert document.length == sum(map(len, pieces))
    assert len(pieces) == 4
    assert all(piece.startswith("Paragraph") and len(piece) <= PIECE_CHARS * 3 // 2 for piece in pieces)
    assert list(document.pieces) == pieces


def test_a_long_file_without_any_border_still_comes_in_pieces() -> None:
    pieces = list(in_pieces(["x" * (PIECE_CHARS * 3)]))
    assert "".join(pieces) == "x" * (PIECE_CHARS * 3)
    assert len(pieces) >= 2


def test_a_long_file_is_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with path.open("w") as handle:
        for _ in range(24):
            handle.write("A line of a long book.\n" * 45_600)
    tracemalloc.start()
    try:
        length = sum(len(piece) for document in read_file(path, "text", "text", Counter()) for piece in document.pieces)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert length == path.stat().st_size
    assert peak < path.stat().st_size / 2


@pytest.mark.parametrize(("module", "name"), [("pyarrow", "a.parquet"), ("zstandard", "a.txt.zst")])
def test_a_missing_extra_names_its_install_line(tmp_path: Path, module: str, name: str) -> None:
    (tmp_path / name).write_bytes(b"anything")
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from collections import Counter; from pathlib import Path\n"
        "from seedbed.data.readers import kind_of, read_file; from seedbed.errors import SeedbedError\n"
        "path = Path(sys.argv[1])\n"
        "try: list(read_file(path, kind_of(path), 'text', Counter()))\n"
        "except SeedbedError as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / name)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith(f"SeedbedError Reading {tmp_path / name} needs {module}")
    assert "pip install 'seedbed[data]'" in done.stdout
