"""What a report card says about tokens, once the tokenizer and chat template of a model are given."""

from __future__ import annotations

import msgspec

from seedbed.curation.report.tally import Lengths


class TokenAmount(msgspec.Struct, kw_only=True):
    """How many tokens the samples of some rows have."""

    samples: int = 0
    tokens: int = 0
    trained: int = 0
    """Tokens that the loss counts."""

    def add(self, tokens: int, trained: int) -> None:
        """Count a sample."""
        self.samples += 1
        self.tokens += tokens
        self.trained += trained

    def merge(self, other: TokenAmount) -> None:
        """Count what another amount has."""
        self.samples += other.samples
        self.tokens += other.tokens
        self.trained += other.trained


class Verification(msgspec.Struct, kw_only=True):
    """Whether it is certain which tokens of a chat template belong to the assistant."""

    name: str
    """`default`, `tool_use`, or the kind of conversations for which the template was refused."""
    strategies: dict[str, bool] = {}
    """Each way to find the turns of the assistant, and whether it found every turn; those that did agree. {} if refused."""
    sentences: list[str] = []
    """What else is known about the template."""
    uncertain: list[str] = []
    """What chats may not have, because then their turns cannot be told for certain."""
    refused_probes: dict[str, str] = {}
    """Kinds of conversations that the template itself refuses, and its reason."""
    problem: str = ""
    """Why the template cannot be used; "" if it can."""


class Fitted(msgspec.Struct, kw_only=True):
    """How the rows fit the context of a training, in which samples are packed into rows of that length."""

    context: int
    rows: int
    """All rows of the dataset; the next four are parts of them."""
    whole: int
    """Rows that fit as they are."""
    cut: int
    """Texts that are cut into pieces, of which nothing is lost."""
    clipped: int
    """Conversations that are longer: the oldest turns are left out, or outputs of tools."""
    left_out: int
    """Rows that give no sample."""
    packed_rows: int
    fill: float
    """The share of the positions of all packed rows that samples occupy, 0 to 1; the rest is padding."""
    drops: list[tuple[str, int]]
    """Why rows, or turns of them, give no sample, the most frequent reasons first."""


class Measured(msgspec.Struct, kw_only=True):
    """The tokens of a dataset, as a training reads them: counts of tokens are of samples that fit the context."""

    model: str
    """The name of the model's folder."""
    tokenizer: str
    """The fingerprint of the tokenizer."""
    vocabulary: int
    family: str
    """The family whose markers rows with a gap got; "" if there are no such rows, or none that fits."""
    loss: str
    """What was trained: `data.loss` of a training."""
    splits: dict[str, TokenAmount]
    by: dict[str, dict[str, TokenAmount]]
    """Tokens by dimension and name, as in `Contents.by`."""
    lengths: Lengths
    """Tokens of a row before it is clipped; of long conversations an estimate."""
    templates: list[Verification]
    fitted: Fitted

    @property
    def tokens(self) -> int:
        """All tokens."""
        return sum(each.tokens for each in self.splits.values())

    @property
    def trained(self) -> int:
        """The tokens that the loss counts."""
        return sum(each.trained for each in self.splits.values())
