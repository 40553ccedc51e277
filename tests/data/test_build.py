"""Building a dataset: once, with the same bytes in any process, resumable at any point, and with clear errors."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import orphans
import patience
from child_processes import children
from seedbed import files, locks
from seedbed.config.schema import DataConfig, TokenizerConfig
from seedbed.data import build, tokenise, worker_pool
from seedbed.data.messages import MessageRecorder
from seedbed.data.shards import Dataset, seal
from seedbed.errors import DiskFullError, SeedbedError, UsageError
from seedbed.events import Data, Event, Message
from seedbed.tokenizer.tokenizer import Tokenizer
from seedbed.tokenizer.train import train_tokenizer

WORDS = ["the", "tall", "tree", "saw", "a", "small", "fox", "and", "it's", "12", "naïve", "日本", "\n", "\n\n"]
BPE = TokenizerConfig(vocab_size=400)


class Corpus:
    """Documents in memory. Counts how often they are read; can fail at a document, but not in the first reading."""

    name = "corpus"

    def __init__(self, train: list[str], validation: list[str], *, fails_after: int | None = None) -> None:
        self.texts = {"train": train, "validation": validation}
        self.drops: Counter[str] = Counter()
        self.readings, self._fails_after = 0, fails_after

    def fingerprint(self) -> str:
        return hashlib.sha256(repr(self.texts).encode()).hexdigest()

    def documents(self, split: str) -> Iterator[str]:
        self.readings += 1
        for number, text in enumerate(self.texts[split]):
            if split == "train" and number == self._fails_after and self.readings > 1:
                raise SeedbedError("The cable was pulled.")
            yield text


def quiet(_event: object) -> None:
    """An emit for tests that do not read events."""


def documents(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 60))) for _ in range(count)]


def corpus(**changes: int) -> Corpus:
    return Corpus(documents(300, 1), documents(40, 2), **changes)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a dataset except .verified.json, which holds time stamps."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".verified.json"
    }


@pytest.fixture
def small_shards(monkeypatch) -> None:
    monkeypatch.setattr(build, "SHARD_BYTES", 4000)
    monkeypatch.setattr(build, "BLOCK_BYTES", 700)


def test_a_dataset_is_built_once_and_then_reused(tmp_path):
    first, second = corpus(), corpus()
    made = build.build_from(first, BPE, workers=1, cache=tmp_path, emit=quiet)
    again = build.build_from(second, BPE, workers=1, cache=tmp_path, emit=quiet)
    assert made.folder == again.folder
    assert first.readings == 3
    assert second.readings == 0
    assert {path.name for path in (tmp_path / "datasets").iterdir() if path.is_dir()} == {made.folder.name}


@pytest.mark.parametrize(
    "other",
    [
        TokenizerConfig(vocab_size=401),
        TokenizerConfig(vocab_size=400, kind="char"),
        TokenizerConfig(vocab_size=400, split="gpt-2"),
    ],
)
def test_another_tokenizer_or_text_gives_another_dataset(tmp_path, other):
    made = build.build_from(corpus(), BPE, workers=1, cache=tmp_path, emit=quiet)
    assert build.build_from(corpus(), other, workers=1, cache=tmp_path, emit=quiet).folder != made.folder
    changed = Corpus([*documents(300, 1), "more"], documents(40, 2))
    assert build.build_from(changed, BPE, workers=1, cache=tmp_path, emit=quiet).folder != made.folder


@pytest.mark.usefixtures("small_shards")
def test_bytes_do_not_depend_on_the_number_of_workers(tmp_path, monkeypatch):
    expected = contents(build.build_from(corpus(), BPE, workers=1, cache=tmp_path / "1", emit=quiet).folder)
    monkeypatch.setattr(tokenise, "SINGLE_PROCESS_BYTES", 2000)
    for workers in (2, 3):
        made = build.build_from(corpus(), BPE, workers=workers, cache=tmp_path / str(workers), emit=quiet)
        assert contents(made.folder) == expected
    assert sum(name.startswith("train") for name in expected) > 6


def test_shards_hold_the_tokens_of_the_documents_for_every_tokenizer_kind(tmp_path, small_shards):
    for kind in ("bpe", "wordpiece", "unigram", "char"):
        made = build.build_from(
            corpus(), TokenizerConfig(kind=kind, vocab_size=400), workers=1, cache=tmp_path, emit=quiet
        )
        tokenizer = made.tokenizer
        expected = [id_ for text in documents(300, 1) for id_ in [*tokenizer.encode(text), tokenizer.eot_id]]
        assert made.train.read(0, made.train.num_tokens).tolist() == expected


def test_a_long_document_stays_one_document(tmp_path, monkeypatch, small_shards):
    """It is tokenised in pieces, and shards end inside it."""
    monkeypatch.setattr(build, "PIECE_CHARACTERS", 500)
    long = "\n".join(text.replace("\n", " ") for text in documents(200, 3))
    made = build.build_from(Corpus(["short", long, "end"], ["x y"]), BPE, workers=1, cache=tmp_path, emit=quiet)
    tokenizer = made.tokenizer
    expected = [id_ for text in ("short", long, "end") for id_ in [*tokenizer.encode(text), tokenizer.eot_id]]
    assert made.train.read(0, made.train.num_tokens).tolist() == expected
    assert made.train.num_documents == 3
    assert len(made.manifest["splits"]["train"]["shards"]) > 3


def test_events_report_progress_and_result(tmp_path):
    events: list[Event] = []
    made = build.build_from(corpus(), BPE, workers=1, cache=tmp_path, emit=events.append)
    data = [event for event in events if isinstance(event, Data)]
    stages = list(dict.fromkeys(event.stage for event in data))
    assert stages == ["tokenizer", "tokenize", "tokenize validation", "dataset"]
    tokenized = [event for event in data if event.stage == "tokenize"]
    assert tokenized[-1].done == tokenized[-1].total == sum(len(text.encode()) for text in documents(300, 1))
    assert data[-1].fingerprint == made.fingerprint
    assert data[-1].counts is not None
    assert data[-1].counts["train_documents"] == 300
    assert data[-1].counts["validation_tokens"] == made.validation.num_tokens


def test_empty_documents_are_counted_and_left_out(tmp_path):
    made = build.build_from(Corpus(["a", "", "b"], ["c", ""]), BPE, workers=1, cache=tmp_path, emit=quiet)
    assert made.train.num_documents == 2
    assert made.manifest["drops"] == {"empty": 2}


def test_surrogates_in_a_document_do_not_stop_the_build(tmp_path):
    made = build.build_from(Corpus(["a\ud800b"], ["c"]), BPE, workers=1, cache=tmp_path, emit=quiet)
    assert made.tokenizer.decode(made.train.read(0, made.train.num_tokens).tolist()) == "a\ufffdb"


def test_special_tokens_in_documents_do_not_end_them(tmp_path):
    made = build.build_from(
        Corpus(["a<|endoftext|>b", "c"], ["<|endoftext|>"]), BPE, workers=1, cache=tmp_path, emit=quiet
    )
    ids = made.train.read(0, made.train.num_tokens).tolist()
    assert ids.count(made.tokenizer.eot_id) == made.train.num_documents == 2


def test_a_message_reports_unknown_characters(tmp_path):
    events: list[Event] = []
    build.build_from(
        Corpus(["abc"], ["abcdé"]), TokenizerConfig(kind="char"), workers=1, cache=tmp_path, emit=events.append
    )
    (message,) = [event for event in events if isinstance(event, Message)]
    assert message.code == "unknown-characters"
    assert message.text.startswith("2 of 6 characters of the validation text")


# ---------------------------------------------------------------------------------------------- reuse


def test_a_tokenizer_folder_is_reused(tmp_path):
    first = build.build_from(corpus(), BPE, workers=1, cache=tmp_path, emit=quiet)
    folder = str(first.folder / "tokenizer")
    other = Corpus(["another text"], ["and more"])
    made = build.build_from(other, TokenizerConfig(path=folder), workers=1, cache=tmp_path, emit=quiet)
    assert made.tokenizer.fingerprint == first.tokenizer.fingerprint
    assert other.readings == 2


def test_a_prepared_folder_is_opened_as_it_is(tmp_path):
    made = build.build_from(corpus(), BPE, workers=1, cache=tmp_path, emit=quiet)
    source = DataConfig(source=str(made.folder))
    open_bytes = build.build_dataset(source, TokenizerConfig(vocab_size=2), cache=tmp_path / "unused", emit=quiet)
    assert open_bytes.fingerprint == made.fingerprint
    assert not (tmp_path / "unused").exists()
    same = TokenizerConfig(path=str(made.folder / "tokenizer"))
    assert build.build_dataset(source, same, cache=tmp_path, emit=quiet).fingerprint == made.fingerprint
    other = build.build_from(corpus(), TokenizerConfig(vocab_size=300), workers=1, cache=tmp_path, emit=quiet)
    with pytest.raises(UsageError, match="not the tokenizer that made"):
        build.build_dataset(source, TokenizerConfig(path=str(other.folder / "tokenizer")), cache=tmp_path, emit=quiet)


@pytest.mark.parametrize("source", ["text:/data", "hf:a/b", "stories", "nowhere/at/all", "text:manifest.json"])
def test_other_sources_are_not_prepared_folders(source):
    assert build.prepared_folder(source) is None


def test_a_dataset_is_built_from_the_path_of_a_text_file(tmp_path):
    text = tmp_path / "book.txt"
    text.write_text("\n\n".join(documents(200, 4)), encoding="utf-8")
    made = build.build_dataset(DataConfig(source=f"text:{text}"), BPE, cache=tmp_path / "cache", emit=quiet)
    whole = (
        made.train.read(0, made.train.num_tokens).tolist()
        + made.validation.read(0, made.validation.num_tokens).tolist()
    )
    assert made.tokenizer.decode(whole) == text.read_text(encoding="utf-8")


def test_a_dataset_without_its_manifest_is_built_again(tmp_path):
    made = build.build_from(corpus(), BPE, workers=1, cache=tmp_path, emit=quiet)
    before = contents(made.folder)
    (made.folder / "manifest.json").unlink()
    assert contents(build.build_from(corpus(), BPE, workers=1, cache=tmp_path, emit=quiet).folder) == before


# ---------------------------------------------------------------------------------------------- messages


def messages(events: list[Event]) -> list[Message]:
    return [event for event in events if isinstance(event, Message)]


def folder_of_text(place: Path) -> DataConfig:
    """A folder that causes messages: a skipped file, texts with separators, rare characters."""
    place.mkdir()
    (place / "a.txt").write_text("\n<|endoftext|>\n".join(documents(60, 4)), encoding="utf-8")
    (place / "picture.png").write_bytes(b"png")
    return DataConfig(source=f"text:{place}")


CHARACTERS = TokenizerConfig(kind="char", vocab_size=25)


def test_messages_about_the_data_are_repeated_whenever_it_is_opened(tmp_path):
    data, first, second, third = folder_of_text(tmp_path / "texts"), [], [], []
    made = build.build_dataset(data, CHARACTERS, cache=tmp_path / "cache", emit=first.append)
    codes = {message.code for message in messages(first)}
    assert codes >= {"files-skipped", "data-separator", "rare-characters", "unknown-characters"}
    build.build_dataset(data, CHARACTERS, cache=tmp_path / "cache", emit=second.append)
    prepared = DataConfig(source=str(made.folder))
    build.build_dataset(prepared, TokenizerConfig(), cache=tmp_path / "cache", emit=third.append)
    for again in (second, third):
        assert sorted(messages(again), key=str) == sorted(messages(first), key=str)
        assert isinstance(again[-1], Data)


def test_messages_about_cached_data_name_the_path_that_was_given(tmp_path):
    build.build_dataset(folder_of_text(tmp_path / "texts"), CHARACTERS, cache=tmp_path / "cache", emit=quiet)
    events: list[Event] = []
    elsewhere = folder_of_text(tmp_path / "moved")
    build.build_dataset(elsewhere, CHARACTERS, cache=tmp_path / "cache", emit=events.append)
    (skipped,) = [message for message in messages(events) if message.code == "files-skipped"]
    assert f"text:{tmp_path / 'moved'}" in skipped.text


def test_messages_about_skipped_files_are_current_when_prepared_data_is_reused(tmp_path):
    texts = tmp_path / "texts"
    data = folder_of_text(texts)
    (texts / "blank.txt").write_text("\n")
    first = build.build_dataset(data, CHARACTERS, cache=tmp_path / "cache", emit=quiet)
    (texts / "picture.png").unlink()
    (texts / "report.docx").write_bytes(b"PK")
    (texts / "gone.txt").symlink_to("nowhere")
    events: list[Event] = []
    again = build.build_dataset(data, CHARACTERS, cache=tmp_path / "cache", emit=events.append)
    assert again.folder == first.folder, "it was prepared again"
    (skipped,) = [message for message in messages(events) if message.code == "files-skipped"]
    assert "1 unknown extension" in skipped.text
    assert "1 link to nothing" in skipped.text
    assert ".docx (1)" in skipped.why
    assert '"gone.txt"' in skipped.why
    assert "png" not in skipped.why
    (kept,) = [message for message in messages(events) if message.code == "data-skipped"]
    assert '"blank.txt"' in kept.why


def test_messages_of_an_interrupted_preparation_are_kept(tmp_path):
    """The one about rare characters comes while the tokenizer is trained, which the second attempt skips."""

    class StopError(Exception):
        pass

    def stop(event: Event) -> None:
        if isinstance(event, Data) and event.stage == "tokenize":
            raise StopError

    data = folder_of_text(tmp_path / "texts")
    with pytest.raises(StopError):
        build.build_dataset(data, CHARACTERS, cache=tmp_path / "cache", emit=stop)
    made = build.build_dataset(data, CHARACTERS, cache=tmp_path / "cache", emit=quiet)
    whole = build.build_dataset(data, CHARACTERS, cache=tmp_path / "whole", emit=quiet)
    assert "rare-characters" in {message["code"] for message in made.messages}
    assert contents(made.folder) == contents(whole.folder)


def test_a_manifest_without_messages_still_opens(tmp_path):
    made = build.build_from(corpus(), BPE, workers=1, cache=tmp_path, emit=quiet)
    manifest = files.read_json(made.folder / "manifest.json")
    del manifest["messages"]
    files.write_json(made.folder / "manifest.json", seal(manifest))
    events: list[Event] = []
    again = build.build_from(corpus(), BPE, workers=1, cache=tmp_path, emit=events.append)
    assert again.fingerprint == made.fingerprint
    assert not messages(events)


# ---------------------------------------------------------------------------------------------- interrupted


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("fails_after", [0, 60, 299])
def test_an_interrupted_build_continues_with_the_missing_shards(tmp_path, fails_after):
    whole = contents(build.build_from(corpus(), BPE, workers=1, cache=tmp_path / "whole", emit=quiet).folder)
    cache = tmp_path / "broken"
    with pytest.raises(SeedbedError, match="cable"):
        build.build_from(corpus(fails_after=fails_after), BPE, workers=1, cache=cache, emit=quiet)
    assert not [path for path in (cache / "datasets").iterdir() if not path.name.startswith(".")]
    (partial,) = (cache / "datasets").glob(".*.partial")
    written = {path.name: path.stat().st_mtime_ns for path in partial.glob("*.ds")}
    again = corpus()
    made = build.build_from(again, BPE, workers=1, cache=cache, emit=quiet)
    assert contents(made.folder) == whole
    assert again.readings == 2  # one for each split; the tokenizer was already trained
    assert {name: (made.folder / name).stat().st_mtime_ns for name in written} == written
    full, filled_bytes = 0, 0
    for text in documents(300, 1)[:fails_after]:
        filled_bytes += len(text.encode())
        if filled_bytes >= 4000:
            full, filled_bytes = full + 1, 0
    assert len(written) == full


class StopError(Exception):
    """Raised to stop a build."""


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("stage", ["tokenizer", "tokenize"])
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_an_exception_from_emit_stops_the_build(tmp_path, monkeypatch, stage, kind):
    """Its workers end as well, and a later build continues."""
    monkeypatch.setattr(tokenise, "SINGLE_PROCESS_BYTES", 1000)
    monkeypatch.setattr(build, "_REPORT_EVERY_S", 0)
    monkeypatch.setattr("seedbed.tokenizer.train._REPORT_EVERY_S", 0)
    config = TokenizerConfig(kind=kind, vocab_size=400)

    def emit(event: Event) -> None:
        if isinstance(event, Data) and event.stage == stage and event.done > 10_000:
            raise StopError

    with pytest.raises(StopError):
        build.build_from(corpus(), config, workers=2, cache=tmp_path, emit=emit)
    assert not children()
    made = build.build_from(corpus(), config, workers=1, cache=tmp_path, emit=quiet)
    assert contents(made.folder) == contents(
        build.build_from(corpus(), config, workers=1, cache=tmp_path / "whole", emit=quiet).folder
    )


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("damaged", ["shard", "progress", "tokenizer", "stray"])
def test_damaged_or_stray_files_of_an_interrupted_build_are_replaced(tmp_path, damaged):
    whole = contents(build.build_from(corpus(), BPE, workers=1, cache=tmp_path / "whole", emit=quiet).folder)
    cache = tmp_path / "broken"
    with pytest.raises(SeedbedError, match="cable"):
        build.build_from(corpus(fails_after=100), BPE, workers=1, cache=cache, emit=quiet)
    (partial,) = (cache / "datasets").glob(".*.partial")
    if damaged == "shard":
        (partial / "train-00001.ds").write_bytes(b"\0" * (partial / "train-00001.ds").stat().st_size)
    elif damaged == "progress":
        (partial / "progress.json").write_text('{"tok')
    elif damaged == "tokenizer":
        (partial / "tokenizer" / "tokenizer.json").write_bytes(b"")
    else:
        (partial / ".train-00003.ds.abc.tmp").write_bytes(b"half")
    assert contents(build.build_from(corpus(), BPE, workers=1, cache=cache, emit=quiet).folder) == whole


PROGRAM = """
import hashlib, random, sys, time
from collections import Counter
from pathlib import Path
from seedbed.config.schema import TokenizerConfig
from seedbed.data import build, tokenise, worker_pool
from seedbed.data.messages import MessageRecorder
build.SHARD_BYTES, build.BLOCK_BYTES, tokenise.SINGLE_PROCESS_BYTES = 4000, 700, 3000
pause_s = float(sys.argv[2])
hold = Path(sys.argv[3]) if len(sys.argv) > 3 else None
class Corpus:
    name, drops = "corpus", Counter()
    def fingerprint(self):
        return "fixed"
    def documents(self, split):
        rng = random.Random(split)
        for _ in range(200 if split == "train" else 30):
            time.sleep(pause_s)
            while hold and not hold.exists():
                time.sleep(0.01)
            yield " ".join(rng.choices(["the", "tree", "saw", "a", "fox", "it's", "12"], k=rng.randint(1, 60)))
print("ready", flush=True)
sys.stdin.readline()
def emit(event):
    if hold and event.kind == "message":
        hold.touch()
    print(event.kind, flush=True)
made = build.build_from(Corpus(), TokenizerConfig(vocab_size=400), workers=2, cache=Path(sys.argv[1]), emit=emit)
print(made.folder)
"""


def run(cache: Path, pause_s: float = 0.0, hold: Path | None = None) -> subprocess.Popen[str]:
    """A building process that waits at the start for a line on its stdin.

    With `hold` it reads no document before that file exists, which it makes where it reports a message.
    """
    command, pipe = [sys.executable, "-c", PROGRAM, str(cache), str(pause_s)], subprocess.PIPE
    command += [str(hold)] if hold else []
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def begin(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def finish(process: subprocess.Popen[str]) -> Path:
    out, error = process.communicate("\n", timeout=patience.HANG_S)
    assert process.returncode == 0, error
    return Path(out.strip().splitlines()[-1])


def test_a_killed_build_gives_the_same_bytes_when_it_is_repeated(tmp_path):
    expected = contents(finish(run(tmp_path / "whole")))
    rng = random.Random(9)
    for attempt in range(4):
        cache = tmp_path / f"killed-{attempt}"
        process = run(cache, pause_s=0.003)
        begin(process)
        for _ in range(rng.randrange(1, 40)):  # the build is killed after this many events
            assert process.stdout is not None
            process.stdout.readline()
        started = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        patience.until(
            lambda started=started: not any(orphans.is_alive(each.pid) for each in started),
            told=lambda: "workers must not outlive the build",
        )
        assert contents(finish(run(cache))) == expected


def test_two_processes_build_a_dataset_once(tmp_path):
    # The one that builds waits for the other one's message: it could have ended before the other one looks.
    both = [run(tmp_path, hold=tmp_path / "other-waits") for _ in range(2)]
    for process in both:
        begin(process)
    outputs = [process.communicate(timeout=patience.HANG_S)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert outputs[0].splitlines()[-1] == outputs[1].splitlines()[-1]
    waited = [out for out in outputs if "message" in out.splitlines()]
    assert len(waited) == 1
    assert sum(line == "data" for line in waited[0].splitlines()) == 1


def test_a_process_that_waits_for_another_reports_it(tmp_path):
    made = build.build_from(corpus(), BPE, workers=1, cache=tmp_path / "other", emit=quiet)
    files.make_dir(tmp_path / "datasets")
    lock = locks.Lock(tmp_path / "datasets" / f".{made.folder.name}.lock")
    assert lock.acquire()
    reported = threading.Event()
    events: list[Event] = []

    def emit(event: Event) -> None:
        events.append(event)
        if isinstance(event, Message):
            reported.set()

    result: list[Dataset] = []
    waiting = threading.Thread(
        target=lambda: result.append(build.build_from(corpus(), BPE, workers=1, cache=tmp_path, emit=emit))
    )
    waiting.start()
    assert reported.wait(patience.HANG_S)
    assert "Another process is preparing corpus" in events[0].text  # type: ignore[attr-defined]
    assert not result
    lock.release()
    waiting.join(patience.HANG_S)
    assert result[0].fingerprint == made.fingerprint


def test_a_stop_takes_effect_while_another_process_prepares_the_data(tmp_path):
    made = build.build_from(corpus(), BPE, workers=1, cache=tmp_path / "other", emit=quiet)
    files.make_dir(tmp_path / "datasets")
    lock = locks.Lock(tmp_path / "datasets" / f".{made.folder.name}.lock")
    assert lock.acquire()
    events: list[Event] = []

    def check() -> None:
        if events:
            raise StopError

    with pytest.raises(StopError):
        build.build_from(corpus(), BPE, workers=1, cache=tmp_path, emit=events.append, check=check)
    lock.release()
    assert build.build_from(corpus(), BPE, workers=1, cache=tmp_path, emit=quiet).fingerprint == made.fingerprint


@pytest.mark.parametrize("what", ["fingerprint", "reading", "opening"])
def test_a_stop_takes_effect_while_a_source_or_dataset_is_fingerprinted_read_or_opened(tmp_path, monkeypatch, what):
    """This takes minutes, without events, for a large corpus or for a large dataset whose time stamps changed."""
    if what == "opening":
        build.build_from(corpus(), BPE, workers=1, cache=tmp_path, emit=quiet)
    busy, stopped = threading.Event(), threading.Event()

    def compare(*_: object) -> None:
        busy.set()
        assert stopped.wait(patience.HANG_S)
        raise SeedbedError("Nobody stopped it.")

    def read(split: str) -> Iterator[str]:
        compare()
        yield split

    def check() -> None:
        if busy.is_set():
            raise StopError

    source = corpus()
    if what == "fingerprint":
        monkeypatch.setattr(source, "fingerprint", compare)
    elif what == "reading":
        monkeypatch.setattr(source, "documents", read)
    else:
        monkeypatch.setattr(build.Dataset, "open", compare)
    with pytest.raises(StopError):
        build.build_from(source, BPE, workers=1, cache=tmp_path, emit=quiet, check=check)
    stopped.set()


# ---------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(("train", "validation"), [([], ["x"]), ([""], ["x"]), (["x"], []), (["x"], [""])])
def test_a_corpus_without_text_is_refused(tmp_path, train, validation):
    with pytest.raises(SeedbedError, match=r"no text|contains no validation text") as caught:
        build.build_from(Corpus(train, validation), BPE, workers=1, cache=tmp_path, emit=quiet)
    assert "data." in caught.value.hint
    assert not list((tmp_path / "datasets").iterdir()), "files are left behind"


def test_a_source_that_fails_at_once_leaves_nothing_behind(tmp_path):
    broken = tmp_path / "broken.txt"
    broken.write_bytes(b"Good text first.\n" * 10 + b"\xff\xfe\x00")
    for source in (f"text:{broken}", f"text:{tmp_path / 'short.txt'}"):
        (tmp_path / "short.txt").write_text("x")
        with pytest.raises(SeedbedError):
            build.build_dataset(DataConfig(source=source), BPE, cache=tmp_path / "cache", emit=quiet)
        assert not list((tmp_path / "cache" / "datasets").glob(".*"))


def test_a_dataset_leaves_no_lock_file_behind(tmp_path):
    made = build.build_from(corpus(), BPE, workers=1, cache=tmp_path, emit=quiet)
    assert [path.name for path in (tmp_path / "datasets").iterdir()] == [made.folder.name]


def test_a_stop_before_any_progress_leaves_nothing_behind(tmp_path):
    def stop(event: Event) -> None:
        if isinstance(event, Data):
            raise StopError

    with pytest.raises(StopError):
        build.build_from(corpus(), BPE, workers=1, cache=tmp_path, emit=stop)
    assert not list((tmp_path / "datasets").iterdir())


def test_a_lock_is_acquired_again_if_its_file_was_removed(tmp_path, monkeypatch):
    """A process removes its lock file when it ends; a process that waited for that file must lock a new one."""
    held: list[locks.Lock] = []
    original = locks.Lock.acquire

    def acquire(lock: locks.Lock) -> bool:
        taken = original(lock)
        if not held:
            held.append(lock)
            lock.path.unlink()
        return taken

    monkeypatch.setattr(locks.Lock, "acquire", acquire)
    made = build.build_from(corpus(), BPE, workers=1, cache=tmp_path, emit=quiet)
    assert [path.name for path in (tmp_path / "datasets").iterdir()] == [made.folder.name]


def test_a_vocabulary_size_that_is_too_small_is_refused_before_text_is_read(tmp_path):
    with pytest.raises(UsageError, match="too small"):
        build.build_dataset(
            DataConfig(source="text:/nowhere"), TokenizerConfig(vocab_size=100), cache=tmp_path, emit=quiet
        )


def test_a_missing_tokenizer_folder_is_refused(tmp_path):
    with pytest.raises(SeedbedError, match="no tokenizer folder"):
        build.build_from(corpus(), TokenizerConfig(path=str(tmp_path / "no")), workers=1, cache=tmp_path, emit=quiet)


def test_a_cache_folder_that_cannot_be_created_is_named_in_the_error(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(SeedbedError) as caught:
        build.build_from(corpus(), BPE, workers=1, cache=tmp_path / "cache", emit=quiet)
    assert str(tmp_path / "cache") in caught.value.message
    assert caught.value.hint


def test_the_hint_for_a_damaged_cached_dataset_is_to_remove_its_folder(tmp_path):
    made = build.build_from(corpus(), BPE, workers=1, cache=tmp_path, emit=quiet)
    (made.folder / "train-00000.ds").write_bytes(b"")
    with pytest.raises(SeedbedError, match=r'train-00000\.ds" was truncated or modified: it has 0 bytes') as caught:
        build.build_from(corpus(), BPE, workers=1, cache=tmp_path, emit=quiet)
    assert f'Remove the folder "{made.folder}"' in caught.value.hint


@pytest.mark.usefixtures("small_shards")
def test_a_full_disk_keeps_the_finished_shards(tmp_path, monkeypatch):
    whole = contents(build.build_from(corpus(), BPE, workers=1, cache=tmp_path / "whole", emit=quiet).folder)
    write, room = files.write_atomic, [6]

    def nearly_full(path: Path, data: bytes | str, **options: Any) -> None:
        if path.suffix == ".ds":
            room[0] -= 1
            if not room[0]:
                with files.explained(path):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data, **options)

    monkeypatch.setattr(files, "write_atomic", nearly_full)
    with pytest.raises(DiskFullError, match="the disk is full"):
        build.build_from(corpus(), BPE, workers=1, cache=tmp_path / "full", emit=quiet)
    monkeypatch.undo()
    (partial,) = (tmp_path / "full" / "datasets").glob(".*.partial")
    assert len(list(partial.glob("*.ds"))) == 5
    assert not list(partial.glob(".*.tmp"))
    monkeypatch.setattr(build, "SHARD_BYTES", 4000)
    monkeypatch.setattr(build, "BLOCK_BYTES", 700)
    assert contents(build.build_from(corpus(), BPE, workers=1, cache=tmp_path / "full", emit=quiet).folder) == whole


LIMITED = """
import resource, signal, sys
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
from seedbed.config.schema import DataConfig, TokenizerConfig
from seedbed.data.build import build_dataset
from seedbed.errors import SeedbedError
try:
    data, tokenizer = DataConfig(source="text:" + sys.argv[1]), TokenizerConfig(kind="char")
    build_dataset(data, tokenizer, cache=Path(sys.argv[2]), emit=lambda _: None)
except SeedbedError as error:
    print("refused:", error.message)
"""


def test_a_refused_write_leaves_no_partial_file(tmp_path):
    """The operating system refuses it: the size of files is limited."""
    (tmp_path / "text.txt").write_text("some words\n" * 30_000)
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "text.txt"), str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "refused:" in done.stdout
    assert "train-00000.ds" in done.stdout
    (partial,) = (tmp_path / "cache" / "datasets").glob(".*.partial")
    assert not [path for path in partial.iterdir() if path.suffix in (".ds", ".tmp")]


def test_a_killed_worker_is_reported(tmp_path, small_shards, monkeypatch):
    monkeypatch.setattr(tokenise, "SINGLE_PROCESS_BYTES", 1000)
    killed = []

    def kill_one(block: object) -> None:
        found = children()
        if len(found) == 2 and not killed:
            killed.append(found[0])
            for child in found:
                child.kill()

    original = worker_pool.Worker.encode

    def kill_and_encode(self: worker_pool.Worker, block: tokenise.TextBlock) -> tokenise.IdBlock:
        kill_one(block)
        return original(self, block)

    monkeypatch.setattr(worker_pool.Worker, "encode", kill_and_encode)
    with pytest.raises(SeedbedError, match=r"exited unexpectedly \(exit status -9\)") as caught:
        build.build_from(corpus(), BPE, workers=2, cache=tmp_path, emit=quiet)
    assert "data.workers" in caught.value.hint
    assert not children()


def test_importing_the_build_imports_neither_torch_nor_datasets():
    program = (
        "import sys, seedbed.data.build; print({'torch', 'datasets', 'transformers', 'pyarrow'} & set(sys.modules))"
    )
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "set()\n"
    )


@pytest.mark.parametrize(
    ("name", "content"), [("a.txt", b""), ("a.txt", b"caf\xe9"), ("a.jsonl", b'{"body": "x"}\n'), ("a.txt", b"x")]
)
def test_unusable_text_leaves_nothing_in_the_cache(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SeedbedError, match=name):
        build.build_dataset(DataConfig(source=f"text:{tmp_path / name}"), BPE, cache=tmp_path / "cache", emit=quiet)
    assert [path.name for path in (tmp_path / "cache" / "datasets").iterdir() if path.is_dir()] == []


def test_a_source_that_fails_during_tokenizer_training_leaves_no_partial_dataset(tmp_path: Path) -> None:
    source = corpus(fails_after=0)
    source.readings = 1
    with pytest.raises(SeedbedError, match="cable"):
        build.build_from(source, BPE, cache=tmp_path, emit=quiet)
    assert not list((tmp_path / "datasets").glob(".*.partial"))


def test_a_base_s_tokenizer_puts_its_prefix_before_each_document_however_it_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = train_tokenizer(documents(50, 1), BPE, quiet)
    monkeypatch.setattr(Tokenizer, "prefix_ids", (5,))
    monkeypatch.setattr(build, "PIECE_CHARACTERS", 40)
    monkeypatch.setattr(build, "BLOCK_BYTES", 100)
    monkeypatch.setattr(build, "SHARD_BYTES", 250)
    corpus = Corpus(documents(40, 2), documents(4, 3))
    made = build._build(corpus, TokenizerConfig(), 1, tmp_path, MessageRecorder(quiet), lambda: None, None, trained)
    ids = made.train.read(0, made.train.num_tokens).tolist()
    begins = [0, *made.train.document_ends.tolist()[:-1]]
    assert len(begins) == 40
    assert [ids[begin] for begin in begins] == [5] * 40
    assert ids.count(5) == 40 + sum(trained.encode(text).count(5) for text in corpus.texts["train"])
