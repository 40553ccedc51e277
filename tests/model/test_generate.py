"""Generation compared with transformers (greedy, samplers), its limits of length, its streams, and invalid options."""

from __future__ import annotations

import codecs
import copy
from collections import Counter
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from seedbed.config.families.config_json import hf_config
from seedbed.config.schema import ModelConfig
from seedbed.errors import SeedbedError, UsageError
from seedbed.model.cache import KVCache
from seedbed.model.decoder import Decoder
from seedbed.model.generate import (
    GeneratedText,
    Sampling,
    StopText,
    apply_repetition_penalty,
    fit_prompt,
    generate,
    next_probabilities,
    text_stream,
    tokens_over,
)
from seedbed.model.weights import export_state

VOCAB = 257
EOT = 256


class Ids:
    """The special ids of the byte tokenizer below."""

    eot_id = EOT
    pad_id = EOT
    stop_ids = frozenset({EOT})


class Bytes:
    """A tokenizer whose ids are UTF-8 bytes, with 256 to end a text."""

    eot_id = EOT
    stop_ids = frozenset({EOT})
    prefix_ids: tuple[int, ...] = ()
    vocab_size = VOCAB

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decoder(self) -> BytesDecoder:
        return BytesDecoder()


class BytesDecoder:
    """Bytes to text as they come."""

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, id_: int) -> str:
        return self._utf8.decode(bytes([id_]) if id_ != EOT else b"")

    def flush(self) -> str:
        return self._utf8.decode(b"", True)


def built(layout: str = "qwen3", *, context: int = 64, seed: int = 2) -> Decoder:
    config = ModelConfig(
        layout=layout,  # type: ignore[arg-type]
        layers=2,
        hidden=32,
        heads=4,
        kv_heads=4 if layout == "gpt2" else 2,
        head_dim=8,
        ffn=64,
        context=context,
        tie_embeddings=False,
    )
    model = Decoder(config, VOCAB)
    model.init_weights(torch.Generator().manual_seed(seed))
    with torch.no_grad():
        model.head.weight.mul_(20)  # peaked enough that rounding cannot reorder the first choice
    return model.eval()


def trained_on(text: str) -> Decoder:
    """A model that is trained to generate `text`, then the end-of-text token."""
    model = built(context=max(64, len(text.encode()) + 2))
    ids = torch.tensor([[EOT, *text.encode(), EOT]])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(300):
        optimizer.zero_grad()
        loss = model.loss(ids[:, :-1], ids[:, 1:])
        loss.backward()
        optimizer.step()
        if loss.item() < 0.05:
            break
    return model.eval()


def run(model: Decoder, prompt: list[int], **options: object) -> list[int]:
    return list(generate(model, prompt, Sampling(**options), eot_id=EOT))  # type: ignore[arg-type]


def noise(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("layout", ["qwen3", "gpt2"])
@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_greedy_tokens_equal_those_of_transformers(layout: str, penalty: float) -> None:
    import transformers

    for seed in range(3):
        model = built(layout, seed=seed)
        settings = hf_config(model.config, VOCAB, Ids())
        theirs = transformers.AutoModelForCausalLM.from_config(
            transformers.AutoConfig.for_model(settings.pop("model_type"), **settings)
        ).eval()
        theirs.load_state_dict(export_state(model))
        prompt = torch.randint(0, 256, (1, 9), generator=torch.Generator().manual_seed(seed))
        expected = theirs.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=50,
            do_sample=False,
            repetition_penalty=penalty,
            pad_token_id=EOT,
            eos_token_id=EOT,
        )[0, 9:].tolist()
        if EOT in expected:
            expected = expected[: expected.index(EOT)]
        assert (
            run(model, prompt[0].tolist(), max_new_tokens=50, temperature=0.0, repetition_penalty=penalty) == expected
        )


@pytest.mark.parametrize("layout", ["qwen3", "gpt2"])
def test_logits_with_a_cache_equal_those_without(layout: str) -> None:
    model, ids = built(layout), torch.randint(0, VOCAB, (2, 40), generator=torch.Generator().manual_seed(0))
    cache = KVCache(model.config, batch=2)
    with torch.no_grad():
        whole = model(ids)
        pieces = torch.cat([model(part, cache=cache) for part in ids.split([17, 1, 1, 6, 1, 14], dim=1)], dim=1)
    assert float((pieces - whole).abs().max()) < 1e-5 * float(whole.abs().max())
    cache.clear()
    with torch.no_grad():
        assert float((model(ids, cache=cache) - whole).abs().max()) < 1e-5 * float(whole.abs().max())


def test_bf16_logits_with_a_cache_agree_with_those_without() -> None:
    model = copy.deepcopy(built()).to(torch.bfloat16)
    ids = torch.randint(0, VOCAB, (1, 30), generator=torch.Generator().manual_seed(0))
    cache = KVCache(model.config, dtype=torch.bfloat16)
    with torch.no_grad():
        whole, pieces = model(ids), torch.cat([model(part, cache=cache) for part in ids.split(1, dim=1)], dim=1)
    assert float((whole - pieces).abs().max()) < 0.03 * float(whole.abs().max())


class TestSamplers:
    """Each sampler alone, and all together, equal transformers' logits processors."""

    @pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"top_k": 1},
            {"top_k": 20},
            {"top_k": 10_000},
            {"top_p": 0.3},
            {"top_p": 0.95},
            {"min_p": 0.05},
            {"min_p": 1.0},
            {"repetition_penalty": 1.7},
            {"repetition_penalty": 0.6},
            {"top_k": 30, "top_p": 0.9, "min_p": 0.02, "repetition_penalty": 1.2},
        ],
    )
    def test_distributions_equal_those_of_transformers(self, options: dict[str, float], temperature: float) -> None:
        import transformers as hf

        for seed in range(4):
            logits, seen = noise(211, seed=seed) * 3, torch.tensor([3, 17, 44, 190])
            processors = hf.LogitsProcessorList()
            if "repetition_penalty" in options:
                processors.append(hf.RepetitionPenaltyLogitsProcessor(options["repetition_penalty"]))
            processors.append(hf.TemperatureLogitsWarper(temperature))
            if "top_k" in options:
                processors.append(hf.TopKLogitsWarper(int(options["top_k"])))
            if "top_p" in options:
                processors.append(hf.TopPLogitsWarper(options["top_p"]))
            if "min_p" in options:
                processors.append(hf.MinPLogitsWarper(options["min_p"]))
            expected = processors(seen[None], logits[None].clone())[0].softmax(-1)
            sampling = Sampling(temperature=temperature, **options)  # type: ignore[arg-type]
            ours = next_probabilities(logits, seen, sampling)
            assert torch.equal(ours > 0, expected > 0)
            torch.testing.assert_close(ours, expected)

    def test_transformers_generate_applies_its_processors_in_the_expected_order(self) -> None:
        import transformers as hf

        settings = hf.GenerationConfig(do_sample=True, temperature=0.7, top_k=30, top_p=0.9, min_p=0.02)
        settings.repetition_penalty = 1.2
        config = hf.Qwen3Config(
            vocab_size=32,
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            num_key_value_heads=1,
        )
        model = hf.Qwen3ForCausalLM(config)
        found = model._get_logits_processor(settings, input_ids_seq_length=1, logits_processor=hf.LogitsProcessorList())
        names = [type(processor).__name__ for processor in found]
        ours = ["RepetitionPenalty", "Temperature", "TopK", "TopP", "MinP"]
        assert [name for name in names if name.startswith(tuple(ours))] == [
            name + ("LogitsProcessor" if name == "RepetitionPenalty" else "LogitsWarper") for name in ours
        ]

    def test_the_repetition_penalty_lowers_positive_and_negative_scores(self) -> None:
        scores = torch.tensor([2.0, -2.0, 1.0])
        assert apply_repetition_penalty(scores, torch.tensor([0, 1]), 2.0).tolist() == [1.0, -4.0, 1.0]

    def test_sampled_tokens_follow_the_distribution(self) -> None:
        model = built()
        expected = next_probabilities(
            model(torch.tensor([[1, 2, 3]]))[0, -1].detach(), torch.tensor([]), Sampling(top_k=5)
        )
        drawn = Counter(run(model, [1, 2, 3], max_new_tokens=1, top_k=5, seed=seed)[0] for seed in range(400))
        assert set(drawn) <= set(expected.nonzero().flatten().tolist())
        for id_, times in drawn.items():
            p = expected[id_].item()
            assert abs(times / 400 - p) < 5 * (p * (1 - p) / 400) ** 0.5 + 1e-9

    @pytest.mark.parametrize("temperature", [1e-45, 1e-8])
    def test_a_tiny_temperature_is_greedy(self, temperature: float) -> None:
        model = built()
        assert run(model, [5], temperature=temperature) == run(model, [5], temperature=0.0)

    @pytest.mark.parametrize("temperature", [0.0, 1.0])
    def test_nan_logits_raise_an_error(self, temperature: float) -> None:
        model = built()
        model.norm.weight.data.fill_(torch.nan)
        with pytest.raises(SeedbedError, match="NaN or infinite"):
            run(model, [5], temperature=temperature)

    def test_the_same_seed_repeats_the_tokens_and_another_seed_does_not(self) -> None:
        model = built()
        first = run(model, [5], seed=11, temperature=1.5)
        assert first == run(model, [5], seed=11, temperature=1.5)
        assert first != run(model, [5], seed=12, temperature=1.5)


class TestLength:
    """Empty prompts, long prompts, and generation past the context."""

    def test_an_empty_prompt_starts_from_the_end_of_text_token(self) -> None:
        model = built()
        assert run(model, [], temperature=0.0, max_new_tokens=12) == run(
            model, [EOT], temperature=0.0, max_new_tokens=12
        )

    def test_a_long_prompt_keeps_its_last_part(self) -> None:
        model, prompt = built(context=64), [int(i) % 251 for i in range(1000)]
        kept = prompt[-(64 - 10) :]
        assert fit_prompt(prompt, Sampling(max_new_tokens=10), context=64, eot_id=EOT) == kept
        assert run(model, prompt, temperature=0.0, max_new_tokens=10) == run(
            model, kept, temperature=0.0, max_new_tokens=10
        )

    def test_the_prompt_keeps_half_the_context_for_any_max_new_tokens(self) -> None:
        prompt = list(range(200))
        assert fit_prompt(prompt, Sampling(max_new_tokens=9999), context=64, eot_id=EOT) == prompt[-32:]

    @pytest.mark.parametrize(("tokens", "new"), [(10, 5), (54, 10), (55, 10), (1000, 10), (200, 9999), (1, 9999)])
    def test_the_number_of_dropped_tokens_is_that_of_the_prompt_that_is_read(self, tokens: int, new: int) -> None:
        read = fit_prompt(list(range(tokens)), Sampling(max_new_tokens=new), context=64, eot_id=EOT)
        assert tokens_over(tokens, new, 64) == tokens - len(read)

    @pytest.mark.parametrize("layout", ["qwen3", "gpt2"])
    def test_generation_past_the_context_continues_from_the_last_half_of_the_window(self, layout: str) -> None:
        model = built(layout, context=16)
        model.head.weight.data[EOT] = 0.0
        prompt = list(b"prompt")
        text = run(model, prompt, temperature=0.0, max_new_tokens=60)
        assert len(text) == 60
        # By hand, without a cache: a full window is replaced by its last half.
        window, expected = list(prompt), []
        with torch.no_grad():
            for _ in range(60):
                if len(window) > 16:
                    window = window[-8:]
                expected.append(int(model(torch.tensor([window]))[0, -1].argmax()))
                window.append(expected[-1])
        assert text == expected

    @pytest.mark.parametrize("context", [1, 2, 3])
    def test_the_smallest_contexts_generate_every_token(self, context: int) -> None:
        model = built("gpt2", context=context)
        model.head.weight.data[EOT] = 0.0
        assert len(run(model, list(b"hello"), temperature=0.0, max_new_tokens=7)) == 7

    def test_max_new_tokens_0_generates_nothing(self) -> None:
        assert run(built(), [1], max_new_tokens=0) == []

    def test_the_end_of_text_token_ends_the_generation(self) -> None:
        model = built()
        model.head.weight.data.zero_()
        with torch.no_grad():  # every logit is 0 except that of the end-of-text token
            model.norm.weight.copy_(torch.ones(32))
            state = model.hidden_states(torch.tensor([[1]]), None, None, None)[0, -1]
            model.head.weight[EOT] = state
        assert run(model, [1], temperature=0.0, max_new_tokens=20) == []

    def test_each_of_several_ends_ends_the_generation(self) -> None:
        model = built()
        whole = run(model, [5], temperature=0.0, max_new_tokens=30)
        assert len(set(whole)) > 3
        for end in set(whole):
            ids = generate(model, [5], Sampling(temperature=0.0, max_new_tokens=30), eot_id=EOT, stop_ids={250, end})
            assert list(ids) == whole[: whole.index(end)]

    def test_the_ids_before_a_text_stay_when_the_prompt_or_the_context_is_full(self) -> None:
        model = built(context=16)
        model.head.weight.data[EOT] = 0.0
        sampling = Sampling(max_new_tokens=10, temperature=0.0)
        assert fit_prompt(range(40), sampling, context=16, eot_id=EOT, num_kept=2) == [0, 1, *range(34, 40)]
        window, expected = [7, *range(20, 29)], []
        ids = generate(model, window, Sampling(max_new_tokens=30, temperature=0.0), eot_id=EOT, num_kept=1)
        window = window[:1] + window[-7:]
        with torch.no_grad():
            for _ in range(30):
                if len(window) > 16:
                    window = [7, *window[-7:]]
                expected.append(int(model(torch.tensor([window]))[0, -1].argmax()))
                window.append(expected[-1])
        assert list(ids) == expected

    def test_rows_beyond_the_vocabulary_are_never_sampled(self) -> None:
        model = built()
        ids = list(generate(model, [1], Sampling(temperature=5.0, max_new_tokens=60), eot_id=EOT, vocab_size=20))
        assert ids
        assert max(ids) < 20

    def test_a_prompt_id_beyond_the_vocabulary_is_refused(self) -> None:
        with pytest.raises(UsageError, match="id 400"):
            run(built(), [1, 400])


SENTENCE = "Grüße, 世界! 🌱 seeds grow; END of it"


@pytest.fixture(scope="module")
def model() -> Decoder:
    """A model that generates one sentence exactly."""
    return trained_on(SENTENCE)


class TestText:
    """Streams of text."""

    def test_the_pieces_are_whole_characters_and_join_to_the_text(self, model: Decoder) -> None:
        pieces = list(text_stream(model, Bytes(), "", Sampling(temperature=0.0)))
        assert "".join(pieces) == SENTENCE
        assert all("\ufffd" not in piece for piece in pieces)
        assert len(pieces) > 20  # it streams

    def test_the_prompt_is_not_part_of_the_stream(self, model: Decoder) -> None:
        assert "".join(text_stream(model, Bytes(), "Grüße, 世", Sampling(temperature=0.0))) == SENTENCE[8:]

    def test_a_prompt_starts_with_the_tokenizers_prefix_and_a_chat_is_read_as_it_is(self, model: Decoder) -> None:
        class Prefixed(Bytes):
            prefix_ids = (EOT,)

        greedy = Sampling(temperature=0.0)
        assert "".join(text_stream(model, Prefixed(), "Gr", greedy)) == SENTENCE[2:]
        assert "".join(text_stream(model, Bytes(), [EOT, *b"Gr"], greedy)) == SENTENCE[2:]
        assert "".join(text_stream(model, Prefixed(), "", greedy)) == SENTENCE

    def test_nothing_of_a_chat_is_cut_and_its_answer_ends_where_the_context_is_full(self, model: Decoder) -> None:
        context = model.config.longest_context
        chat = [EOT, *SENTENCE.encode()][: context - 3]
        stream = GeneratedText(model, Bytes(), chat, Sampling(temperature=0.0, max_new_tokens=context))
        list(stream)
        expected = run(model, chat, temperature=0.0, max_new_tokens=context - len(chat))
        assert (stream.num_tokens, stream.finish) == (
            len(expected),
            "stop" if len(chat) + len(expected) < context else "length",
        )
        full = GeneratedText(model, Bytes(), [EOT] * context, Sampling(temperature=0.0))
        assert (list(full), full.num_tokens, full.finish) == ([], 0, "length")

    @pytest.mark.parametrize("stop", ["END", "世", "🌱 s", ";", "s grow; E"])
    def test_stop_text_ends_the_stream_and_is_not_shown(self, model: Decoder, stop: str) -> None:
        stream = GeneratedText(model, Bytes(), "", Sampling(temperature=0.0, stop=("not there", stop)))
        assert "".join(stream) == SENTENCE[: SENTENCE.index(stop)]
        assert stream.finish == "stop"

    def test_a_stream_reports_its_finish_reason_and_number_of_tokens(self, model: Decoder) -> None:
        for limit, finish in ((5, "length"), (100, "stop")):
            stream = GeneratedText(model, Bytes(), "", Sampling(temperature=0.0, max_new_tokens=limit))
            text = "".join(stream)
            assert stream.finish == finish
            assert stream.num_tokens == min(limit, len(SENTENCE.encode()))
            assert (
                limit == 100 or text == "Grü\ufffd"
            )  # cut inside a character: shown as the tokenizer's decode shows it


class TestStopText:
    """The filter alone, on texts that are cut into pieces of several sizes."""

    @staticmethod
    def cut(text: str, size: int) -> Iterator[str]:
        return (text[i : i + size] for i in range(0, len(text), size))

    @pytest.mark.parametrize("size", [1, 2, 3, 50])
    @pytest.mark.parametrize(
        ("text", "stop", "expected"),
        [
            ("one two three", ("two",), "one "),
            ("aab aaab end", ("aaab",), "aab "),
            ("ababac!", ("abac",), "ab"),
            ("nothing here st", ("stop",), "nothing here st"),
            ("first of two stops", ("stops", "two"), "first of "),
            ("whole", (), "whole"),
            ("xstopstop", ("stop",), "x"),
        ],
    )
    def test_the_text_ends_before_the_earliest_stop_text(
        self, text: str, stop: tuple[str, ...], expected: str, size: int
    ) -> None:
        filtered, out = StopText(stop), []
        for piece in self.cut(text, size):
            out += filtered.push(piece)
            if filtered.found:
                break
        out += filtered.flush()
        assert "".join(out) == expected
        assert filtered.found == (expected != text)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"temperature": -0.1}, "--temperature is -0.1"),
        ({"temperature": float("nan")}, "--temperature"),
        ({"temperature": float("inf")}, "--temperature"),
        ({"top_k": -1}, "--top-k"),
        ({"top_p": 0.0}, "--top-p"),
        ({"top_p": 1.01}, "--top-p"),
        ({"min_p": -0.5}, "--min-p"),
        ({"min_p": 1.5}, "--min-p"),
        ({"repetition_penalty": 0.0}, "--repetition-penalty"),
        ({"max_new_tokens": -1}, "--max-new-tokens"),
        ({"stop": ("",)}, "--stop"),
    ],
)
def test_an_invalid_value_is_refused_with_its_option_name(options: dict[str, object], named: str) -> None:
    with pytest.raises(UsageError, match=named) as caught:
        Sampling(**options)  # type: ignore[arg-type]
    assert caught.value.hint


@pytest.mark.parametrize(
    "extreme",
    [
        {"temperature": 1e-46},
        {"temperature": 5e-324},
        {"temperature": 1e308},
        {"temperature": 1e-46, "top_p": 1e-300, "min_p": 1.0, "top_k": 2**62},
        {"repetition_penalty": 1e-320},
        {"repetition_penalty": 1e308},
        {"repetition_penalty": 1e308, "temperature": 0.0},
        {"repetition_penalty": 1e-46, "temperature": 1e-46},
        {"top_p": 5e-324},
        {"min_p": 5e-324},
        {"seed": 2**63 - 1},
        {"seed": -(2**63)},
    ],
    ids=str,
)
def test_extreme_settings_still_generate_tokens(extreme: dict[str, float]) -> None:
    sampling = Sampling(max_new_tokens=12, **extreme)  # type: ignore[arg-type]
    ids = list(generate(built(), [1, 2, 3], sampling, eot_id=-1))
    assert len(ids) == 12
    assert all(0 <= id_ < VOCAB for id_ in ids)


def test_a_temperature_that_rounds_to_zero_is_greedy() -> None:
    model = built()
    cold, greedy = (
        list(generate(model, [1, 2, 3], Sampling(max_new_tokens=12, temperature=heat), eot_id=-1))
        for heat in (1e-46, 0.0)
    )
    assert cold == greedy
    scores = torch.tensor([0.0, -3.0, 2.0])
    assert apply_repetition_penalty(scores, torch.tensor([0, 1, 2]), 1e-320).isfinite().all()


def test_max_new_tokens_may_be_larger_than_memory_allows() -> None:
    stream = generate(built(), [1], Sampling(max_new_tokens=2**62), eot_id=-1)
    assert len([next(stream) for _ in range(100)]) == 100
