"""A packed row gives each sample the logits and the gradients that it has alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from packed_samples import some_samples, write
from seedbed.config.schema import ModelConfig
from seedbed.data.packed_batches import PackedRows
from seedbed.data.samples import Samples
from seedbed.model.decoder import Decoder

CONTEXT, VOCAB = 48, 50
SAMPLES = some_samples(26, 30, seed=4, vocab=VOCAB)
SHAPE = {"layers": 3, "hidden": 48, "heads": 4, "head_dim": 12, "ffn": 96, "context": CONTEXT, "vocab_multiple": 1}
ATTENTION = {
    "rotary": ModelConfig(layout="llama", kv_heads=2, **SHAPE),
    "learned positions": ModelConfig(layout="gpt2", kv_heads=4, **SHAPE),
    "one key head": ModelConfig(layout="gpt_bigcode", kv_heads=1, **SHAPE),
    "sliding window": ModelConfig(layout="mistral", kv_heads=2, window=5, **SHAPE),
    "some layers with a window": ModelConfig(layout="qwen3", kv_heads=4, window=7, window_layers="1-2", **SHAPE),
    "scaled rotary": ModelConfig(
        layout="llama", kv_heads=4, rope_scaling="linear", rope_factor=4.0, max_context=4 * CONTEXT, **SHAPE
    ),
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> PackedRows:
    made = write(tmp_path_factory.mktemp("packed"), SAMPLES, SAMPLES[:2])
    return PackedRows(Samples.of(made, "train"), CONTEXT)


def built(config: ModelConfig) -> Decoder:
    model = Decoder(config, VOCAB)
    model.init_weights(torch.Generator().manual_seed(7))
    return model.requires_grad_(True)


def batch_of(rows: PackedRows):
    return rows.batch(torch.arange(rows.plan.num_rows).numpy())


def alone(ids: list[int], trained: list[int]) -> tuple[Tensor, Tensor]:
    """Inputs and targets of one sample by itself."""
    targets = [id_ if flag else -100 for id_, flag in zip(ids[1:], trained[1:], strict=True)]
    return torch.tensor([ids[:-1]]), torch.tensor([targets])


@pytest.mark.parametrize("config", ATTENTION.values(), ids=ATTENTION)
def test_packed_logits_equal_those_of_each_sample_alone(rows: PackedRows, config: ModelConfig) -> None:
    model, batch = built(config), batch_of(rows)
    assert rows.plan.num_rows < len(SAMPLES)
    compared = 0
    with torch.no_grad():
        packed = model(batch.inputs, documents_BT=batch.documents, positions_BT=batch.positions)
        for row in range(rows.plan.num_rows):
            members = rows.plan.members[rows.plan.starts[row] : rows.plan.starts[row + 1]]
            for place, sample in enumerate(members.tolist()):
                inputs, _ = alone(*SAMPLES[sample])
                found = packed[row][batch.documents[row] == place]
                assert torch.allclose(found, model(inputs)[0], atol=1e-5, rtol=0)
                compared += 1
    assert compared == len(SAMPLES)


@pytest.mark.parametrize("config", ATTENTION.values(), ids=ATTENTION)
def test_packed_loss_and_gradients_equal_those_of_the_samples_alone(rows: PackedRows, config: ModelConfig) -> None:
    model, batch = built(config), batch_of(rows)
    packed = model.loss(batch.inputs, batch.targets, batch.documents, batch.positions) / batch.trained
    packed.backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    total = 0.0
    for ids, trained in SAMPLES:
        loss = model.loss(*alone(ids, trained)) / batch.trained
        loss.backward()
        total += float(loss.detach())
    assert float(packed.detach()) == pytest.approx(total, abs=1e-5)
    for found, parameter in zip(gradients, model.parameters(), strict=True):
        assert torch.allclose(found, parameter.grad, atol=1e-5, rtol=1e-4)


def test_the_blocked_bf16_attention_of_a_cpu_keeps_samples_apart(rows: PackedRows) -> None:
    model, batch = built(ATTENTION["rotary"]).to(torch.bfloat16), batch_of(rows)
    changed = batch.inputs.clone()
    first = batch.documents == 0
    changed[first] = (changed[first] + 1) % VOCAB
    for ids in (batch.inputs, changed):
        model.zero_grad()
        out = model(ids, documents_BT=batch.documents, positions_BT=batch.positions)
        out[~first].float().square().sum().backward()
        gradient = model.embed.weight.grad.clone()
        if ids is batch.inputs:
            before, kept = out, gradient
    assert torch.equal(before[~first], out[~first])
    assert torch.equal(kept, gradient)  # what others say has no influence on their gradients either


def test_without_a_document_mask_the_samples_would_not_be_apart(rows: PackedRows) -> None:
    model, batch = built(ATTENTION["rotary"]), batch_of(rows)
    with torch.no_grad():
        packed = model(batch.inputs, documents_BT=batch.documents, positions_BT=batch.positions)
        joined = model(batch.inputs, positions_BT=batch.positions)
    assert not torch.allclose(packed, joined, atol=1e-2)
