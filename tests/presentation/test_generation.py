"""The request made from the options of generation, and the line about its result."""

from __future__ import annotations

from seedbed.presentation.generation import (
    FIELDS,
    dropped_text,
    generation_request,
    ignored_text,
    result_text,
    stop_texts,
)


def test_a_request_holds_the_options_that_are_set() -> None:
    values = {name: field.default for name, field in FIELDS.items()}
    request = generation_request("Once", values | {"seed": "", "top-k": "7", "stop": r"a\n|b"})
    assert request == {
        "prompt": "Once",
        "max_new_tokens": 100,
        "temperature": 0.8,
        "top_k": 7,
        "top_p": 1.0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "num_samples": 1,
        "stop": ["a\n", "b"],
    }


def test_stop_texts_are_separated_by_bars() -> None:
    assert stop_texts("") == []
    assert stop_texts(r"||a\\n|") == [r"a\n"]


def test_a_result_line_gives_tokens_speed_and_seeds() -> None:
    one = {"tokens": 10, "elapsed_s": 2.0, "seed": 5, "finish": "length"}
    assert result_text([one]) == "10 tokens, 5 tokens/s, token limit reached, seed 5"
    assert result_text([{**one, "finish": "stop", "elapsed_s": 0.0}]) == "10 tokens, end of text, seed 5"
    assert result_text([one, {**one, "seed": 6}]) == "2 samples, 20 tokens, 5 tokens/s, seeds 5 to 6"


def test_a_prompt_that_is_too_long_says_how_much_is_not_read() -> None:
    said = dropped_text(11_500, 12_212, 8_192)
    assert said.startswith(
        "The prompt has 12,212 tokens, and the model's context 8,192: its first 11,500 tokens are not read"
    )


def test_impossible_values_are_listed_as_the_file_has_them() -> None:
    assert ignored_text({"temperature": "x\x1b", "top_k": -5}) == (
        'impossible values in the model\'s generation_config.json are ignored: temperature "x\\u001b", top_k -5'
    )
