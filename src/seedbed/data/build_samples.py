"""Build shards from a dataset of rows (conversations, text, code with a gap): token ids with a mask of what is trained.

See building.py for the files in the cache. Rows of train.jsonl become training samples, those of eval.jsonl validation.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from seedbed import files
from seedbed.config.schema import DataConfig, TokenizerConfig
from seedbed.curation.fim.families import families_of
from seedbed.curation.folder import EVAL, PRIVATE_DIR, TRAIN, Description, describe, read_rows, verify
from seedbed.curation.record import Record, texts_of
from seedbed.data import row_fit, shards
from seedbed.data.building import MESSAGES, Base, Builder, emit_contents, open_or_build
from seedbed.data.byte_streams import NoTextError
from seedbed.data.interruption import Check, never_stop, run_interruptibly
from seedbed.data.messages import MessageRecorder, replay_messages
from seedbed.data.rendering import SETTINGS, VERSION, RowBlock, RowRenderer, Settings
from seedbed.data.row_fit import Fit
from seedbed.data.row_folder import refuse_changed, without_template
from seedbed.data.row_shards import PlannedShard, RenderedShards, survey
from seedbed.data.row_split import split_folder
from seedbed.data.shard_writer import PROGRESS, ShardWriter, shard_name
from seedbed.data.shards import Dataset
from seedbed.errors import UsageError
from seedbed.events import Data, Emit
from seedbed.hardware.cpu import usable_cores
from seedbed.text import plural, quoted
from seedbed.tokenizer.chatml import CHATML, FIM_FAMILY
from seedbed.tokenizer.checks import check_vocab_size
from seedbed.tokenizer.tokenizer import Tokenizer
from seedbed.tokenizer.train import train_tokenizer

BLOCK_BYTES = 1 << 20
_FILES: dict[Literal["train", "validation"], str] = {"train": TRAIN, "validation": EVAL}
_REPORT_EVERY_S = 0.2
_PROMPT_CHARACTERS = 200


def build_samples(
    data: DataConfig,
    tokenizer: TokenizerConfig,
    *,
    context: int,
    cache: Path,
    emit: Emit,
    check: Check = never_stop,
    expected_fingerprint: str | None = None,
    base: Base | None = None,
) -> Dataset:
    """Open the dataset of the folder of rows that `data.source` names from the cache; otherwise build it.

    `context`: a sample has at most one token more, since its last token is no input. `base`: the model that is trained on;
    None trains a tokenizer, or takes that of `tokenizer.path`. The same rows and settings give byte-identical files.

    A dataset that is not split is split in the cache. Raises UsageError for rows that the base cannot be trained on, and
    SeedbedError for damaged files.
    """
    if base is None and not tokenizer.path:
        check_vocab_size(tokenizer)
    recorder = MessageRecorder(emit)
    builder = _SamplesBuilder(data, tokenizer, context, cache, recorder, check, base)
    dataset, built = open_or_build(builder, recorder, check, expected_fingerprint)
    if base is not None:
        dataset.tokenizer = base.tokenizer
    if not built:
        replay_messages(dataset.messages, recorder, prepared_as=dataset.name, name=builder.name)
    emit_contents(dataset, recorder)
    return dataset


class _SamplesBuilder(Builder):
    """Builds the dataset of a folder of rows."""

    folder_mode = PRIVATE_DIR

    def __init__(
        self,
        data: DataConfig,
        config: TokenizerConfig,
        context: int,
        cache: Path,
        emit: MessageRecorder,
        check: Check,
        base: Base | None,
    ) -> None:
        self._folder = files.expand_home(data.source.strip())
        self._description: Description = describe(self._folder)
        refuse_changed(self._folder, self._description)
        self._rows = split_folder(self._folder, self._description, cache, emit, check)
        """The folder with train.jsonl and eval.jsonl."""
        self._config, self._emit, self._check = config, emit, check
        self._workers, self._most = data.workers or usable_cores(), data.max_documents
        self._kinds, self._plans = survey(
            ((self._rows / name, (self._most or None) if split == "train" else None) for split, name in _FILES.items()),
            check,
        )
        self._reused = base.tokenizer if base is not None else None
        self._positions = base.positions if base is not None else None
        self._template = base.template if base is not None else None
        if base is None and config.path:
            self._reused = Tokenizer.load(files.expand_home(config.path))
            self._template = self._reused.chat_template
        elif base is None and self._kinds["chat"]:
            self._template = CHATML
        if self._kinds["chat"] and self._template is None:
            raise without_template(self._folder, f"{self._kinds['chat']:,} ", is_base=base is not None)
        fim_family = self._fim_family() if self._kinds["fim"] else None
        self._settings = Settings(
            "", context + 1, self._template if self._kinds["chat"] else None, fim_family, data.loss
        )
        content = [
            shards.SAMPLES_FORMAT,
            VERSION,
            self._description.fingerprint,
            self._most,
            self._tokenizer_settings(),
            msgspec.to_builtins(self._settings),
        ]
        super().__init__(cache, content, str(self._folder))

    def _tokenizer_settings(self) -> dict[str, Any]:
        if self._reused is not None:
            return {"tokenizer": self._reused.fingerprint}
        config = self._config
        settings = {"kind": config.kind, "vocab_size": config.vocab_size, "sample_bytes": config.sample_bytes}
        return settings if config.kind == "char" else {**settings, "split": config.split}

    def _fim_family(self) -> str:
        """The family whose markers rows with a gap get: that of the dataset if the tokenizer has them, else another."""
        if self._reused is None:
            return FIM_FAMILY
        wanted = self._description.settings.get("fim")
        name = str(wanted.get("family") or "") if isinstance(wanted, dict) else ""
        fitting = families_of(self._reused)
        if not fitting:
            raise UsageError(
                f"{quoted(self._folder)} has {plural(self._kinds['fim'], 'row')} of code with a gap to fill in, but the "
                "tokenizer has the markers of no known model family.",
                "Train on from a model that was trained to fill in the middle, such as Qwen2.5-Coder or StarCoder2, train from "
                "scratch with a tokenizer of its own, or prepare the code without gaps: `--fim-rate 0`.",
            )
        return name if name in fitting else fitting[0]

    def _can_resume(self, error: BaseException) -> bool:
        if isinstance(error, NoTextError | UsageError):
            return False
        trained = self._reused is None and (self._partial / shards.TOKENIZER / "tokenizer_config.json").exists()
        return trained or (self._partial / PROGRESS).exists()

    def _fill(self) -> None:
        # The key of the cache is of the rows that dataset.json describes, so others must not come under it.
        run_interruptibly(lambda: verify(self._folder, self._description), self._check)
        self._emit.record_to(self._partial / MESSAGES)
        tokenizer = self._tokenizer()
        dtype = shards.index_dtype(tokenizer.vocab_size)
        settings = msgspec.structs.replace(self._settings, dtype=dtype.str)
        rendering = shards.digest_of(
            [shards.SAMPLES_FORMAT, VERSION, tokenizer.fingerprint, msgspec.to_builtins(settings)]
        )
        rendered = RenderedShards(self.cache, rendering)
        writer = run_interruptibly(lambda: ShardWriter(self._partial, dtype, tokenizer.fingerprint), self._check)
        files.write_json(self._partial / SETTINGS, msgspec.to_builtins(settings), durable=False)
        cache = self.cache / "templates"
        with RowRenderer(tokenizer, self._partial, settings, self._workers, self._check, cache=cache) as renderer:
            for split in shards.SPLITS:
                self._fill_split(split, writer, renderer, rendered)
        splits: dict[str, Any] = {split: writer.totals(split) for split in shards.SPLITS}
        drops = writer.counted("drops")
        longer = Counter({int(size): count for size, count in writer.counted("longer").items()})
        self._check_splits(splits, drops, longer)
        context, notes = settings.max_tokens - 1, writer.counted("notes")
        for message in row_fit.messages(Fit(context, writer.counted("rows"), longer, drops, notes, self._positions)):
            self._emit(message)
        kinds = writer.counted("kinds")
        facts = {
            "samples": dict(sorted(kinds.items())),
            "answers": self._answers,
            "opening": self._opening(),
            "drops": dict(sorted(drops.items())),
            "messages": self._emit.finish(),
            "rendering": rendering,
            "splits": splits,
        }
        self._finish(writer, tokenizer, shards.SAMPLES_FORMAT, self._description.fingerprint, facts)

    def _tokenizer(self) -> Tokenizer:
        """Return the given tokenizer, the one of an interrupted build, or a new one; it is saved in the hidden folder."""
        if (kept := self._kept_tokenizer(self._reused)) is not None:
            return kept
        tokenizer = train_tokenizer(self._documents(), self._config, self._emit, self._check)
        if self._template is not None:
            tokenizer = tokenizer.with_chat_template(self._template)
        tokenizer.save(self._partial / shards.TOKENIZER)
        return tokenizer

    def _documents(self) -> Iterator[str]:
        """Yield the texts of the training rows."""
        for record in itertools.islice(read_rows(self._rows, TRAIN), self._most or None):
            yield from _whole_texts(record)

    def _fill_split(
        self,
        split: Literal["train", "validation"],
        writer: ShardWriter,
        renderer: RowRenderer,
        rendered: RenderedShards,
    ) -> None:
        """Write the shards of a split that an interrupted build did not write; take those that were rendered before."""
        path = self._rows / _FILES[split]
        plan = self._plans[path.name]
        for number, (shard, planned) in enumerate(zip(writer.shards[split], plan, strict=False)):
            if shard.get("made_of") != planned.digest:
                writer.forget_from(split, number)
                break
        done = len(writer.shards[split])
        known: list[dict[str, Any] | None] = []
        for number, each in enumerate(plan[done:], done):
            self._check()
            known.append(rendered.link(each.digest, self._partial, shard_name(split, number)))
        progress = _Progress(split, path.stat().st_size, self._emit)
        with files.explained(path), path.open("rb") as handle:
            progress.add(sum(map(len, itertools.islice(handle, sum(each.rows for each in plan[:done])))))
            for rows, samples in renderer.encode(_blocks(handle, plan[done:], known)):
                number = len(writer.shards[split])
                if rows.lines:
                    writer.add_samples(rows, samples)
                    progress.add(rows.size_bytes)
                    if rows.closes_shard:
                        writer.close_shard(split, plan[number].digest)
                elif (taken := known[number - done]) is not None:
                    writer.add_shard(split, taken)
                    progress.add(plan[number].size_bytes)
        progress.end()

    def _check_splits(self, splits: dict[str, Any], drops: Counter[str], longer: Iterable[int]) -> None:
        """Raise SeedbedError for a split without a sample. `longer`: contexts that hold the rows that were too long."""
        fitting = f" ({max(longer)} holds all rows)" if longer else ""
        for split, name in _FILES.items():
            if splits[split]["documents"]:
                continue
            why = (
                "it has no rows"
                if not (self._rows / name).stat().st_size
                else "; ".join(f"{count} {reason}" for reason, count in drops.most_common())
            )
            raise NoTextError(
                f"{quoted(self._folder)} gives no sample for {split}: {why}.",
                f"Use a larger model.context{fitting}, or make the dataset with more rows, for evaluation too (--eval-frac).",
            )

    @property
    def _answers(self) -> bool:
        """Whether most rows are conversations, so that samples are answers to questions."""
        return 2 * self._kinds["chat"] > self._kinds.total()

    def _opening(self) -> str:
        """A prompt for samples: the first short question of the evaluation conversations; "" for text."""
        if not self._answers:
            return ""
        for record in itertools.islice(read_rows(self._rows, EVAL), 200):
            asked = next((each.content.strip() for each in record.messages or () if each.role == "user"), "")
            if 0 < len(asked) <= _PROMPT_CHARACTERS and "\n" not in asked:
                return asked
        return ""


def _whole_texts(record: Record) -> list[str]:
    """The texts of a record as they are in their source: the parts around a gap joined."""
    if record.kind == "fim":
        whole = "".join(part or "" for part in (record.prefix, record.middle, record.suffix))
        return [*(each.text for each in record.context or ()), whole]
    return texts_of(record)


def _blocks(
    lines: Iterator[bytes], plan: Sequence[PlannedShard], known: Sequence[dict[str, Any] | None]
) -> Iterator[RowBlock]:
    """Group the rows of each shard into blocks of about BLOCK_BYTES, and mark the block that ends the shard.

    The same rows always give the same groups. A shard that is known has one block without rows.
    """
    for planned, shard in zip(plan, known, strict=True):
        rows = itertools.islice(lines, planned.rows)
        if shard is not None:
            for _ in rows:
                pass
            yield RowBlock([], 0, closes_shard=True)
            continue
        block = RowBlock([], 0)
        for number, line in enumerate(rows, 1):
            block.lines.append(line)
            block.size_bytes += len(line)
            block.closes_shard = number == planned.rows
            if block.closes_shard or block.size_bytes >= BLOCK_BYTES:
                yield block
                block = RowBlock([], 0)


class _Progress:
    """Emits the progress of rendering a split as `data` events, at intervals of _REPORT_EVERY_S seconds."""

    def __init__(self, split: str, total_bytes: int, emit: Callable[[Data], None]) -> None:
        self._stage = "tokenize" if split == "train" else f"tokenize {split}"
        self._total_bytes, self._emit = total_bytes, emit
        self._done_bytes, self._reported_at = 0, time.monotonic()

    def add(self, size_bytes: int) -> None:
        self._done_bytes += size_bytes
        if time.monotonic() - self._reported_at >= _REPORT_EVERY_S:
            self._report(self._total_bytes)

    def end(self) -> None:
        self._report(self._done_bytes)

    def _report(self, total_bytes: int) -> None:
        self._reported_at = time.monotonic()
        self._emit(Data(stage=self._stage, done=self._done_bytes, total=total_bytes, unit="bytes"))
