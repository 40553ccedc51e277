"""Files are read as documents: every format, every kind of damage, in bounded memory."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

import patience
from seedbed.data.byte_streams import UnreadableError
from seedbed.data.readers import PIECE_CHARS, in_pieces, kind_of, read_file
from seedbed.data.records import ReadOptions

zstandard = pytest.importorskip("zstandard", reason="needs the extra data")
pa = pytest.importorskip("pyarrow", reason="needs the extra data")
pq = pytest.importorskip("pyarrow.parquet")


def texts(path: Path, field: str = "text", encoding: str = "") -> tuple[list[str], Counter[str]]:
    drops: Counter[str] = Counter()
    return [
        "".join(document.pieces) for document in read_file(path, kind_of(path), ReadOptions(field, encoding), drops)
    ], drops


def write(path: Path, content: bytes) -> Path:
    if path.suffix == ".gz":
        content = gzip.compress(content)
    elif path.suffix == ".zst":
        content = zstandard.ZstdCompressor().compress(content)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.TXT", "a.txt.gz", "a.txt.zst", "a.md.gz"])
def test_a_text_file_is_one_document_with_normalised_newlines_and_no_byte_order_mark(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, b"\xef\xbb\xbfFirst \xc3\xa9\r\nsecond\rthird\n")
    assert texts(path) == (["First é\nsecond\nthird\n"], Counter())


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.jsonl.gz", "a.jsonl.zst"])
def test_records_give_their_text_field_and_unusable_records_are_counted(tmp_path: Path, name: str) -> None:
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
    assert found == ["one", "two\nlines"]
    assert drops == Counter({"no text field": 3, "empty": 2, "broken JSON": 1, "not UTF-8": 1})


def test_a_field_may_have_any_name(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"the text": "found", "text": "not this"}) + "\n")
    assert texts(path, "the text")[0] == ["found"]


def test_a_parquet_file_gives_its_text_column(tmp_path: Path) -> None:
    table = pa.table({"text": ["one", None, "", "two"], "id": [1, 2, 3, 4]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    assert texts(tmp_path / "a.parquet") == (["one", "two"], Counter({"no text field": 1, "empty": 1}))


def test_a_parquet_column_that_is_missing_or_not_text_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": ["one"], "id": [1]}), tmp_path / "a.parquet")
    with pytest.raises(UnreadableError, match=r'no column "text"\. Its columns: "body", "id"'):
        texts(tmp_path / "a.parquet")
    with pytest.raises(UnreadableError, match="int64, not text"):
        texts(tmp_path / "a.parquet", "id")


def test_the_error_for_records_without_the_field_lists_their_fields(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"body": "one", "id": 1}\n')
    with pytest.raises(UnreadableError, match='line 1: no field "text" among "body", "id"') as raised:
        texts(path)
    assert "data.field" in raised.value.hint


@pytest.mark.parametrize(
    ("name", "content", "reason", "message"),
    [
        ("a.txt", b"", "empty", "contains no text"),
        ("a.txt", b" \n\r\n\t", "empty", "contains no text"),
        ("a.txt", b"abc\x00def", "binary", "NUL byte at byte 3"),
        ("a.txt", b"caf\xe9 au lait", "not UTF-8", "byte 0xe9 at byte 3"),
        ("a.txt", b"\xef\xbb\xbfcaf\xe9", "not UTF-8", "byte 0xe9 at byte 6"),
        ("a.txt", "café".encode("utf-16"), "not UTF-8", "UTF-16"),
        ("a.txt", b"cut \xc3", "not UTF-8", "byte 0xc3 at byte 4"),
        ("a.jsonl", b"", "empty", "contains no records"),
        ("a.jsonl", b"\x00\x01", "binary", "NUL byte"),
        ("a.parquet", b"PAR1 not really", "broken parquet", "incomplete or damaged parquet file"),
        ("a.parquet", b"no such thing", "broken parquet", "is not a parquet file"),
        ("a.parquet", b"", "empty", "is empty"),
        ("a.csv", b"text\n\xe9\n", "not UTF-8", "byte 0xe9 at byte 5"),
        ("a.csv", b"text,id\n", "empty", "contains no rows"),
        ("a.csv", b"", "empty", "contains no rows"),
    ],
)
def test_the_error_for_an_unusable_file_says_what_is_wrong_and_where(
    tmp_path: Path, name: str, content: bytes, reason: str, message: str
) -> None:
    with pytest.raises(UnreadableError, match=message) as raised:
        texts(write(tmp_path / name, content))
    assert raised.value.reason == reason
    assert name in raised.value.message
    assert raised.value.hint


@pytest.mark.parametrize(("at", "prefix"), [(3_000_000, b""), (3_000_000, b"\xef\xbb\xbf"), ((1 << 20) - 1, b"")])
def test_a_bad_byte_deep_in_a_large_file_is_found_before_any_text_is_returned(
    tmp_path: Path, at: int, prefix: bytes
) -> None:
    content = bytearray(prefix + b"some words in a line\n" * 200_000)
    content[at] = 0xE9
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UnreadableError, match=f"at byte {at}\\."):
        next(read_file(tmp_path / "a.txt", "text", ReadOptions(), Counter()))


@pytest.mark.parametrize(("name", "reason"), [("a.txt.gz", "broken gzip"), ("a.txt.zst", "broken zstd")])
@pytest.mark.parametrize("defect", ["cut", "garbage"])
def test_a_damaged_compressed_file_is_refused(tmp_path: Path, name: str, reason: str, defect: str) -> None:
    path = write(tmp_path / name, random.Random(1).randbytes(40_000).hex().encode())
    path.write_bytes(path.read_bytes()[:20_000] if defect == "cut" else b"garbage" * 100)
    with pytest.raises(UnreadableError) as raised:
        texts(path)
    assert raised.value.reason == reason


def test_concatenated_zstd_frames_are_read_as_one_file(tmp_path: Path) -> None:
    frames = [zstandard.ZstdCompressor().compress(part) for part in (b"one\n", b"two\n")]
    (tmp_path / "a.txt.zst").write_bytes(b"".join(frames))
    assert texts(tmp_path / "a.txt.zst")[0] == ["one\ntwo\n"]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.txt.zst"])
def test_a_long_file_is_read_in_pieces_cut_between_paragraphs(tmp_path: Path, name: str) -> None:
    whole = "".join(f"Paragraph {index} with é and some words.\r\n\r\n" for index in range(100_000))
    path = write(tmp_path / name, whole.encode())
    (document,) = read_file(path, "text", ReadOptions(), Counter())
    pieces = list(document.pieces)
    assert "".join(pieces) == whole.replace("\r\n", "\n")
    assert document.length == sum(map(len, pieces))
    assert len(pieces) == 4
    assert all(piece.startswith("Paragraph") and len(piece) <= PIECE_CHARS * 3 // 2 for piece in pieces)
    assert list(document.pieces) == pieces


def test_a_long_text_without_any_border_is_cut_into_pieces() -> None:
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
        length = sum(
            len(piece) for document in read_file(path, "text", ReadOptions(), Counter()) for piece in document.pieces
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert length == path.stat().st_size
    assert peak < path.stat().st_size / 2


@pytest.mark.parametrize(("module", "name"), [("pyarrow", "a.parquet"), ("zstandard", "a.txt.zst")])
def test_the_error_for_a_missing_extra_has_its_install_command(tmp_path: Path, module: str, name: str) -> None:
    (tmp_path / name).write_bytes(b"anything")
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from collections import Counter; from pathlib import Path\n"
        "from seedbed.data.readers import kind_of, read_file; from seedbed.data.records import ReadOptions\n"
        "from seedbed.errors import SeedbedError\n"
        "path = Path(sys.argv[1])\n"
        "try: list(read_file(path, kind_of(path), ReadOptions(), Counter()))\n"
        "except SeedbedError as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / name)],
        capture_output=True,
        text=True,
        check=True,
        timeout=patience.HANG_S,
    )
    assert done.stdout.startswith(f'SeedbedError Reading "{tmp_path / name}" needs {module}')
    assert "pip install 'seedbed[data]'" in done.stdout


# Invalid numbers and damaged text


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_a_record_with_nan_or_infinity_is_read(tmp_path: Path, number: str) -> None:
    path = write(tmp_path / "a.jsonl", b'{"score": %s, "text": "kept"}\n' % number.encode())
    assert texts(path) == (["kept"], Counter())


def test_a_record_with_a_lone_surrogate_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "half \ud83d of a smile"}) + "\n")
    assert texts(path) == (["half \ud83d of a smile"], Counter())


def test_a_record_with_nan_and_without_text_is_not_reported_as_broken_json(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", b'{"score": NaN, "body": "x"}\n')
    with pytest.raises(UnreadableError, match='no field "text" among "score", "body"'):
        texts(path)


def test_the_hint_for_broken_json_does_not_suggest_another_field(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", b'{"text": "a"\n' + b"[" * 100_000)
    with pytest.raises(UnreadableError, match="broken JSON") as raised:
        texts(path)
    assert "data.field" not in raised.value.hint
    assert "one JSON object" in raised.value.hint


# Byte-order marks and line endings


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.csv", "a.csv.gz", "a.csv.zst", "a.parquet"]
)
def test_every_format_drops_byte_order_marks_and_normalises_line_endings(tmp_path: Path, name: str) -> None:
    path, text = tmp_path / name, "\ufeffone\r\ntwo\rthree"
    if name.endswith("parquet"):
        pq.write_table(pa.table({"text": [text]}), path)
    elif ".csv" in name:
        write(path, f'\ufefftext,id\r\n"{text}",1\r\n'.encode())
    else:
        write(path, b"\xef\xbb\xbf" + json.dumps({"text": text}).encode() + b"\r\n")
    assert texts(path) == (["one\ntwo\nthree"], Counter())


# Encodings


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16", "utf-16-le", "utf-32", "gb18030", "shift_jis"])
@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.jsonl", "a.csv", "a.csv.zst"])
def test_a_file_in_the_configured_encoding_is_read(tmp_path: Path, encoding: str, name: str) -> None:
    text = "caf\u00e9 au lait" if encoding in ("cp1252", "latin-1") else "\u65e5\u672c\u8a9e \u30c6\u30b9\u30c8"
    content = {
        "txt": text,
        "jsonl": json.dumps({"text": text}, ensure_ascii=False) + "\n",
        "csv": f"id,text\r\n1,{text}\r\n",
    }
    path = write(tmp_path / name, content[name.split(".")[1]].encode(encoding))
    assert texts(path, encoding=encoding) == ([text], Counter())


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
def test_a_utf_8_file_is_read_as_utf_8_if_another_encoding_is_configured(
    tmp_path: Path, encoding: str, name: str
) -> None:
    text = "caf\u00e9"
    content = {"a.txt": text, "a.jsonl": json.dumps({"text": text}, ensure_ascii=False), "a.csv": f"text\n{text}\n"}
    assert texts(write(tmp_path / name, content[name].encode()), encoding=encoding) == ([text], Counter())


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16-le"])
def test_a_large_file_in_the_configured_encoding_is_read_in_pieces(tmp_path: Path, encoding: str) -> None:
    whole = "\ufeff" * (encoding != "cp1252") + "A line with caf\u00e9 in it.\r\n" * 100_000
    path = write(tmp_path / "a.txt", whole.encode(encoding))
    (document,) = read_file(path, "text", ReadOptions(encoding=encoding), Counter())
    assert "".join(document.pieces) == "A line with caf\u00e9 in it.\n" * 100_000
    assert document.length == sum(map(len, document.pieces))


def test_a_byte_that_is_invalid_in_the_configured_encoding_is_refused(tmp_path: Path) -> None:
    small = write(tmp_path / "a.txt", b"word \x81 word")
    large = write(tmp_path / "b.txt", b"word \xe9 word\n" * 200_000 + b"\x81")
    records = write(tmp_path / "c.jsonl", b'{"text": "\x81"}\n')
    for path, message in ((small, "byte 0x81 at byte 5"), (large, "byte 0x81 at byte 2400000"), (records, "line 1")):
        with pytest.raises(UnreadableError, match=message) as raised:
            texts(path, encoding="cp1252")
        assert "neither UTF-8 nor cp1252" in raised.value.message
        assert "data.encoding" in raised.value.hint


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.txt", "a.csv"])
def test_the_convert_command_for_a_utf_16_file_works_and_keeps_the_format(tmp_path: Path, name: str) -> None:
    content = {"jsonl": '{"text": "words"}\n', "csv": "text\nwords\n", "txt": "words"}[name.split(".")[1]]
    path = write(tmp_path / name, content.encode("utf-16"))
    with pytest.raises(UnreadableError, match="UTF-16") as raised:
        texts(path)
    assert "data.encoding=utf-16" in raised.value.hint
    convert = raised.value.hint.partition("convert the file: ")[2]
    subprocess.run(convert, shell=True, cwd=tmp_path, check=True)
    assert texts(tmp_path / f"a.utf8.{name.split('.')[1]}")[0] == ["words"]
    assert texts(path, encoding="utf-16")[0] == ["words"]


# Other formats, recognised by their content


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF"),
        (b"PK\x03\x04" + b"\0" * 26 + b"word/document.xml", "a Word document"),
        (b"PK\x03\x04" + b"\0" * 26 + b"mimetypeapplication/epub+zip", "an EPUB book"),
        (b"PK\x03\x04" + b"\0" * 26 + b"one.txt", "a zip archive"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"\xff\xd8\xff\xe0", "a JPEG picture"),
        (b"{\\rtf1\\ansi hello}", "an RTF document"),
        (b"BZh91AY&SY\x01\x02", "compressed by bzip2"),
        (b"\xfd7zXZ\0\0", "compressed by xz"),
        (gzip.compress(b"words", mtime=0), "compressed by gzip"),
        (b"x" * 257 + b"ustar\x0000", "a tar archive"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"PAR1\x15\x04", "a parquet file"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.txt.gz"])
def test_the_error_for_a_file_that_is_not_text_names_its_format(
    tmp_path: Path, name: str, content: bytes, what: str
) -> None:
    with pytest.raises(UnreadableError, match=what) as raised:
        texts(write(tmp_path / name, content))
    assert raised.value.reason == "not text"
    assert "iconv" not in raised.value.hint
    assert raised.value.hint


@pytest.mark.parametrize(
    "start", ["RIFF, he said.", "ID3 is a tag.", "GIF87a was a format.", "BZh! cried the bee.", "PAR1"]
)
def test_a_text_may_begin_like_another_format(tmp_path: Path, start: str) -> None:
    assert texts(write(tmp_path / "a.txt", start.encode()))[0] == [start]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_array_is_refused_with_a_command_that_converts_it(tmp_path: Path, name: str, indent: int | None) -> None:
    rows = [{"text": "one\n\u65e5"}, {"text": "two"}]
    path = write(tmp_path / name, json.dumps(rows, indent=indent).encode())
    with pytest.raises(UnreadableError, match="one JSON array") as raised:
        texts(path)
    made = tmp_path / "made"
    made.mkdir()
    subprocess.run(raised.value.hint.removeprefix("Try: "), shell=True, cwd=made, check=True)
    assert texts(made / "a.jsonl")[0] == [row["text"] for row in rows]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
def test_a_git_lfs_pointer_is_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    with pytest.raises(UnreadableError, match="Git LFS pointer") as raised:
        texts(path)
    assert "git lfs pull" in raised.value.hint


# CSV


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t"), ("a.csv.gz", ",")])
def test_a_csv_file_gives_its_text_column_and_unusable_rows_are_counted(
    tmp_path: Path, name: str, separator: str
) -> None:
    rows = ["id,text", '1,"one, with ""quotes"" and', ' two lines"', "2,", "3", "4,four"]
    content = "\n".join(row.replace(",", separator) for row in rows)
    found, drops = texts(write(tmp_path / name, content.encode()))
    assert found == [f'one{separator} with "quotes" and\n two lines', "four"]
    assert drops == Counter({"empty": 1, "no text field": 1})


@pytest.mark.parametrize(
    ("header", "message"), [("id,body", r'no column "text"\. Its columns: "id", "body"'), ("text,text", "2 columns")]
)
def test_a_csv_file_without_exactly_one_text_column_is_refused(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(UnreadableError, match=message) as raised:
        texts(write(tmp_path / "a.csv", f"{header}\n1,2\n".encode()))
    assert raised.value.hint


# Parquet files of other programs


def test_a_parquet_column_of_dictionary_or_binary_type_is_read_as_text(tmp_path: Path) -> None:
    coded = pa.array(["one", "two", None, "one"]).dictionary_encode()
    pq.write_table(pa.table({"text": coded}), tmp_path / "coded.parquet")
    assert texts(tmp_path / "coded.parquet") == (["one", "two", "one"], Counter({"no text field": 1}))
    pq.write_table(pa.table({"text": [b"caf\xc3\xa9", b"caf\xe9"]}), tmp_path / "bytes.parquet")
    assert texts(tmp_path / "bytes.parquet") == (["caf\u00e9"], Counter({"not UTF-8": 1}))


def test_two_parquet_columns_with_the_same_name_are_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(UnreadableError, match='2 columns named "text"') as raised:
        texts(tmp_path / "a.parquet")
    assert "own name" in raised.value.hint


# Compressed files of other programs


@pytest.mark.parametrize("window_log", [28, 30])
def test_a_zstd_file_with_a_large_window_is_read(tmp_path: Path, window_log: int) -> None:
    settings = zstandard.ZstdCompressionParameters(window_log=window_log, enable_ldm=True)
    packer = zstandard.ZstdCompressor(
        compression_params=settings
    ).compressobj()  # no size in the frame: the window size matters
    (tmp_path / "a.txt.zst").write_bytes(packer.compress(b"words\n" * 1000) + packer.flush())
    assert texts(tmp_path / "a.txt.zst")[0] == ["words\n" * 1000]


def test_a_zstd_file_that_needs_a_dictionary_is_not_reported_as_incomplete(tmp_path: Path) -> None:
    words = random.Random(1)
    samples = [" ".join(words.choices(["red", "ball", "the", "cat", "sat", "sun"], k=200)).encode() for _ in range(200)]
    dictionary = zstandard.train_dictionary(4096, samples)
    (tmp_path / "a.txt.zst").write_bytes(zstandard.ZstdCompressor(dict_data=dictionary).compress(samples[0]))
    with pytest.raises(UnreadableError, match="zstd") as raised:
        texts(tmp_path / "a.txt.zst")
    assert "Download it again" not in raised.value.hint
    assert "dictionary" in raised.value.hint


@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.zst"])
def test_an_uncompressed_file_with_a_gz_or_zst_suffix_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"just words, never compressed")
    with pytest.raises(UnreadableError, match="despite its name") as raised:
        texts(tmp_path / name)
    assert "Download it again" not in raised.value.hint


def test_a_file_name_that_is_not_utf_8_can_be_printed_in_the_error(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt"))
    path.write_bytes(b"")
    with pytest.raises(UnreadableError) as raised:
        texts(path)
    assert str(raised.value).encode()
    assert "caf\\xe9.txt" in raised.value.message
