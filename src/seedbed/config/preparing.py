"""The configs of `seedbed prepare` and `seedbed data merge`: what is read, what is left out, and how rows are made."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from seedbed.config.schema import PATH, Fraction, NonNegativeFloat, NonNegativeInt, PositiveInt, Table

What = Literal["logs", "fim", "commits", "harvest"]


class PrepareConfig(Table, frozen=True, kw_only=True):
    """The table `prepare`: what is read, and how the work is shared."""

    what: Annotated[
        What,
        Meta(
            description="logs: conversations of coding assistants; fim: gaps to fill in source files; commits: edits from a "
            "history; harvest: fim and commits of many repositories."
        ),
    ] = "logs"
    inputs: Annotated[tuple[str, ...], Meta(description="Files, folders or repositories to read.")] = ()
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1, description="Seed of everything that is chosen at random.")] = 1337
    workers: Annotated[int, Meta(ge=0, le=4096, description="Processes; 0: one for each usable core.")] = 0
    executor: Annotated[
        str,
        Meta(
            description="Where the work runs: `processes` of this machine, or a TOML file that configures an executor of "
            "datatrove: local, slurm or ray."
        ),
    ] = "processes"
    most_tokens: Annotated[
        PositiveInt, Meta(description="The most tokens of a piece of code with its markers (fim) or of an example.")
    ] = 2048
    tokenizer_folder: Annotated[
        str,
        Meta(
            description="A model folder whose tokenizer measures lengths; without it, lengths are estimated.",
            extra=PATH,
        ),
    ] = ""
    licences: Annotated[
        str,
        Meta(
            description="Which licences are accepted: any, permissive, or a list such as MIT,Apache-2.0. With `permissive`, "
            "code without a known licence is left out."
        ),
    ] = "any"


class LogsConfig(Table, frozen=True, kw_only=True):
    """The table `logs`: how logs of coding assistants are read."""

    format: Annotated[
        Literal[
            "auto", "claude-code", "codex", "cline", "aider", "claude-ai", "chatgpt", "sharegpt", "openai", "alpaca"
        ],
        Meta(description="The format; auto: found from the content of each file."),
    ] = "auto"
    thinking: Annotated[Literal["keep", "drop"], Meta(description="Whether the thinking before an answer is kept.")] = (
        "drop"
    )
    subagents: Annotated[
        Literal["separate", "drop"], Meta(description="Conversations of sub-agents: rows of their own, or left out.")
    ] = "separate"
    failed: Annotated[
        Literal["keep", "drop"], Meta(description="Sessions that end in an error or were interrupted.")
    ] = "keep"
    max_result_characters: Annotated[
        PositiveInt, Meta(description="The most characters of a tool's result; its middle is cut, with a marker.")
    ] = 20_000


class FimConfig(Table, frozen=True, kw_only=True):
    """The table `fim`: how gaps are cut into source files."""

    family: Annotated[
        str, Meta(description="The model family whose markers are used, such as qwen2.5-coder or starcoder2.")
    ] = ""
    rate: Annotated[Fraction, Meta(description="Share of pieces with a gap; the others are plain text.")] = 0.5
    spm_rate: Annotated[Fraction, Meta(description="Share of gaps in the order suffix, prefix, middle.")] = 0.5
    context: Annotated[
        Literal["file", "repository"],
        Meta(description="What surrounds a gap: its file, or other files of the repository, too."),
    ] = "file"
    edits: Annotated[
        NonNegativeInt,
        Meta(
            description="The most gaps of a commit whose middles are lines that it added to a file; 0: no commits are read. "
            "The table `commits` says which commits are read."
        ),
    ] = 0
    untracked: Annotated[bool, Meta(description="Whether files that git neither tracks nor ignores are read.")] = False


class CommitsConfig(Table, frozen=True, kw_only=True):
    """The table `commits`: which commits become examples, and in which form."""

    branch: Annotated[
        str,
        Meta(description="The branch to read; by default the current one, and source files as they are in the folder."),
    ] = ""
    all_branches: Annotated[bool, Meta(description="Read all branches, those of remotes included.")] = False
    since: Annotated[
        str,
        Meta(
            description="Only commits after this date: 2026-11-01, 2026-11-01 18:30, or 90 days (weeks, months, years)."
        ),
    ] = ""
    max_commits: Annotated[NonNegativeInt, Meta(description="The most commits, newest first; 0: all.")] = 0
    max_files: Annotated[PositiveInt, Meta(description="Commits that touch more files are left out.")] = 10
    max_lines: Annotated[PositiveInt, Meta(description="Commits that change more lines are left out.")] = 400
    max_characters: Annotated[PositiveInt, Meta(description="Examples that are longer are left out.")] = 32_000
    answer: Annotated[
        Literal["edits", "diff"], Meta(description="The form of the answer: search/replace edits, or a unified diff.")
    ] = "edits"


class RedactionConfig(Table, frozen=True, kw_only=True):
    """The table `redaction`: what is replaced before anything is written. Secrets always are."""

    personal: Annotated[
        bool, Meta(description="Replace personal data, too: e-mail, phone, IP addresses, home folders, author names.")
    ] = True
    names: Annotated[tuple[str, ...], Meta(description="Further names to replace, such as those of colleagues.")] = ()
    user: Annotated[str | None, Meta(description="Your login name, replaced wherever it stands as a word.")] = None
    host: Annotated[str | None, Meta(description="The name of your machine, replaced in the same way.")] = None


class QualityConfig(Table, frozen=True, kw_only=True):
    """The table `quality`: filters that are off unless they are asked for, and their limits.

    Code: the limits of lines and letters of StarCoder (Li et al. 2023, arXiv 2305.06161, section 3.2). Prose: those of
    Gopher (Rae et al. 2021, arXiv 2112.11446, table A1) that hold for any language. Conversations: our own.
    """

    filters: Annotated[
        bool,
        Meta(description="Leave out rows of low quality, such as data files and empty talk; the limits are below."),
    ] = False
    max_line: Annotated[PositiveInt, Meta(description="Code: the most characters of a line.")] = 1000
    max_mean_line: Annotated[PositiveInt, Meta(description="Code: the most characters of a line on average.")] = 100
    min_letters: Annotated[Fraction, Meta(description="Code: the least share of letters and digits.")] = 0.25
    max_comments: Annotated[
        Fraction, Meta(description="Code: the greatest share of comments; 1: all are kept. StarCoder has 0.8.")
    ] = 1.0
    min_characters: Annotated[NonNegativeInt, Meta(description="Code: the fewest characters besides white space.")] = 1
    min_words: Annotated[NonNegativeInt, Meta(description="Prose: the fewest words.")] = 20
    max_repeated_lines: Annotated[
        Fraction, Meta(description="Prose: the greatest share of lines that repeat earlier ones.")
    ] = 0.3
    max_repeated_characters: Annotated[
        Fraction, Meta(description="Prose: the greatest share of characters in lines that repeat earlier ones.")
    ] = 0.2
    max_symbols: Annotated[NonNegativeFloat, Meta(description="Prose: the most hash signs and ellipses per word.")] = (
        0.1
    )
    min_word_length: Annotated[
        NonNegativeFloat, Meta(description="Prose: the fewest characters of a word on average.")
    ] = 3.0
    max_word_length: Annotated[
        NonNegativeFloat, Meta(description="Prose: the most characters of a word on average.")
    ] = 10.0
    max_placeholders: Annotated[
        Fraction, Meta(description="Code and prose: the greatest share of placeholders of redaction.")
    ] = 0.2
    min_answer_characters: Annotated[
        NonNegativeInt, Meta(description="Conversations: the fewest characters that are trained.")
    ] = 1
    drop_small_talk: Annotated[
        bool, Meta(description="Conversations: leave out those whose user only greets or thanks.")
    ] = True
    drop_notices: Annotated[
        bool, Meta(description="Conversations: leave out those whose answers are notices only.")
    ] = True
    drop_tool_output: Annotated[
        bool, Meta(description="Conversations: leave out those in which only tools say anything.")
    ] = True
    drop_errors: Annotated[
        bool, Meta(description="Conversations: leave out those that end in an error or were interrupted.")
    ] = False


class Preparation(Table, frozen=True, kw_only=True):
    """The config of `seedbed prepare`."""

    prepare: PrepareConfig = PrepareConfig()
    logs: LogsConfig = LogsConfig()
    fim: FimConfig = FimConfig()
    commits: CommitsConfig = CommitsConfig()
    redaction: RedactionConfig = RedactionConfig()
    quality: QualityConfig = QualityConfig()


class MergeConfig(Table, frozen=True, kw_only=True):
    """The table `merge`: which datasets are put together."""

    inputs: Annotated[tuple[str, ...], Meta(description="Folders of datasets.")] = ()
    workers: Annotated[int, Meta(ge=0, le=4096, description="Processes; 0: one for each usable core.")] = 0


class DuplicatesConfig(Table, frozen=True, kw_only=True):
    """The table `duplicates`: what happens to exact and near duplicates."""

    near: Annotated[
        Literal["drop", "mark"],
        Meta(description="Near duplicates: keep the best of a cluster, or keep all and mark them."),
    ] = "drop"
    code_similarity: Annotated[
        Fraction, Meta(description="Jaccard similarity of word 5-grams from which code counts as a near duplicate.")
    ] = 0.7
    prose_similarity: Annotated[Fraction, Meta(description="The same for prose and conversations.")] = 0.8


class DecontaminationConfig(Table, frozen=True, kw_only=True):
    """The table `decontamination`: which evaluation sets must not be in the data."""

    against: Annotated[
        tuple[str, ...], Meta(description="Files or folders of evaluation sets (JSON lines or text).")
    ] = ()


class SplitConfig(Table, frozen=True, kw_only=True):
    """The table `split`: how rows are divided into training and evaluation."""

    eval_fraction: Annotated[
        Annotated[float, Meta(gt=0, lt=1)], Meta(description="Share of the groups that become evaluation rows.")
    ] = 0.1
    eval_rows: Annotated[NonNegativeInt, Meta(description="The most evaluation rows; 0: no limit.")] = 10_000
    level: Annotated[
        Literal["auto", "links", "repository", "time"],
        Meta(
            description="What is kept together: rows with a common link (session, commit, file), whole repositories, or all "
            "rows after a date. auto: repository from 20 repositories on, else links."
        ),
    ] = "auto"
    salt: Annotated[str, Meta(description="Another salt gives another split.")] = "seedbed"
    ledger: Annotated[
        str,
        Meta(
            description="A file that remembers all rows that were ever in an evaluation part, so that they never enter "
            "training. By default eval-ledger.jsonl beside the output.",
            extra=PATH,
        ),
    ] = ""
    max_leaked: Annotated[
        Fraction, Meta(description="The largest share of evaluation answers that may be visible in the training rows.")
    ] = 0.01


class Merging(Table, frozen=True, kw_only=True):
    """The config of `seedbed data merge`."""

    merge: MergeConfig = MergeConfig()
    duplicates: DuplicatesConfig = DuplicatesConfig()
    quality: QualityConfig = QualityConfig()
    decontamination: DecontaminationConfig = DecontaminationConfig()
    split: SplitConfig = SplitConfig()


class ClipConfig(Table, frozen=True, kw_only=True):
    """The table `clip`: to which length the rows of a dataset are cut."""

    inputs: Annotated[tuple[str, ...], Meta(description="The folder of the dataset.")] = ()
    model: Annotated[
        str, Meta(description="The model folder whose tokenizer and chat template measure the rows.", extra=PATH)
    ] = ""
    most_tokens: Annotated[
        PositiveInt, Meta(description="The most tokens of a row, with all that the template adds.")
    ] = 2048
    family: Annotated[
        str, Meta(description="The family whose markers rows with gaps get; by default one that the tokenizer has.")
    ] = ""


class Clipping(Table, frozen=True, kw_only=True):
    """The config of `seedbed data clip`."""

    clip: ClipConfig = ClipConfig()
