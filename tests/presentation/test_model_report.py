"""A report on a model as lines of text: everything is named, and no text from its files controls the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import hand_made_models as made
from seedbed.actions.model_report import Machine, ModelReport, report_on
from seedbed.presentation.model_report import as_json, lines, verdict


def report(folder: Path, content: dict[str, bytes]) -> ModelReport:
    made.write(folder, content)
    return report_on(folder, ModelReport(name="m", reference=str(folder), folder=str(folder)))


def shown(found: ModelReport) -> dict[str, str]:
    return {line.label: line.text for line in lines(found)}


def test_every_property_has_a_line(tmp_path: Path) -> None:
    processor = {"type": "BertProcessing", "cls": ["<|begin|>", 11], "sep": ["<|end|>", 10]}
    content = {**made.files(tokenizer={"post_processor": processor}), "chat_template.jinja": b"x"}
    found = shown(report(tmp_path / "m", content))
    assert found["family"] == "qwen3 (Qwen3ForCausalLM)"
    assert found["shape"] == "2 layers, width 8, 2 heads of 4, 1 key/value head, feed-forward 16, tied embeddings"
    assert found["parameters"] == "1,304 (1.3k)"
    assert found["weights"] == "5.1 KiB in 1 file, fp32"
    assert found["context"] == "64 tokens"
    assert found["vocabulary"] == "12 tokens (BPE), 12 rows in the embedding"
    assert found["text"] == "a text gets <|begin|> (11) before and <|end|> (10) after it"
    assert found["stop"] == "<|end|> (10)"
    assert found["template"] == "a chat template"
    assert found["licence"] == "unknown"
    assert " with LoRA (" in found["to tune"]
    assert " with QLoRA" in found["to tune"]


def test_the_memory_of_another_kind_of_machine_says_what_cuda_takes(tmp_path: Path) -> None:
    found = report(tmp_path / "m", made.files())
    found.machine = Machine("cpu", 1 << 40)
    assert shown(found)["to tune"].endswith("with QLoRA on a GPU (bf16), of which CUDA itself takes 1.0 GiB")
    found.machine = Machine("A GPU", 1 << 40)
    assert shown(found)["to tune"].endswith("with QLoRA (bf16)")


def test_named_chat_templates_are_listed_with_the_default_first(tmp_path: Path) -> None:
    content = {**made.files(), **{f"additional_chat_templates/{name}.jinja": b"x" for name in ("tool_use", "rag")}}
    found = report(tmp_path / "m", {**content, "chat_template.jinja": b"x"})
    assert shown(found)["template"] == "chat templates: default, rag, tool_use"


def test_what_is_unknown_is_called_unknown(tmp_path: Path) -> None:
    found = shown(report(tmp_path / "m", {"config.json": b"{", "model.safetensors": made.files()["model.safetensors"]}))
    for label in ("family", "shape", "context", "text", "stop", "template", "licence", "to run", "to train"):
        assert found[label] == "unknown", label


def test_a_need_beyond_the_memory_of_the_machine_is_marked(tmp_path: Path) -> None:
    found = report(tmp_path / "m", made.files())
    assert found.machine is not None
    assert "more than there is" not in shown(found)["to run"]
    found.machine = type(found.machine)("cpu", 1000)
    assert shown(found)["to run"].endswith(": more than there is")


def test_names_from_files_are_shown_without_control_characters(tmp_path: Path) -> None:
    evil = "\x1b[31mevil\x07\u202e"
    added = [{"id": 10, "content": evil, "special": True}, {"id": 11, "content": "<|begin|>", "special": True}]
    config = {"model_type": evil, "architectures": [evil], "eos_token_id": 10}
    content = {
        **made.files(tokenizer={"added_tokens": added}),
        "config.json": json.dumps(config).encode(),
        "README.md": f"---\nlicense: {evil}\n---\n".encode(),
        "tokenizer_config.json": json.dumps({"chat_template": [{"name": evil, "template": "x"}]}).encode(),
    }
    found = report(tmp_path / "m", content)
    written = "".join(line.text for line in [*lines(found), *verdict(found)])
    assert "evil" in written
    assert not set(written) & set("\x1b\x07\u202e")
    json.dumps(as_json(found))


def test_the_verdict_gives_each_reason_with_its_hint(tmp_path: Path) -> None:
    good, bad = report(tmp_path / "m", made.files()), report(tmp_path / "b", {"config.json": b'{"model_type": "bert"}'})
    assert [line.text for line in verdict(good)] == [
        "Seedbed can generate with this model, evaluate it, and train it further."
    ]
    told = verdict(bad)
    assert told[0].text == "Seedbed cannot use this model."
    assert len([line for line in told if line.label == "-"]) == 3
    assert as_json(good)["can_run"] is True
    assert as_json(bad)["can_train"] is False


def test_the_verdict_says_what_is_possible_and_what_is_not(tmp_path: Path) -> None:
    template = {"chat_template.jinja": b"{% if"}
    no_chat = report(tmp_path / "c", {**made.files(), **template})
    assert verdict(no_chat)[0].text == (
        "Seedbed can generate with this model, evaluate it, and train it further, but it cannot chat with it."
    )
    assert shown(no_chat)["template"] == "a chat template that cannot be used (see below)"
    added = [*made.TOKENIZER["added_tokens"], {"id": 12, "content": "x", "special": True}]
    few = report(tmp_path / "t", {**made.files(tokenizer={"added_tokens": added}), **template})
    assert verdict(few)[0].text == (
        "Seedbed can generate with this model and evaluate it, but it cannot chat with it or train it further."
    )
    assert len([line for line in verdict(few) if line.label == "-"]) == 2


def test_an_end_that_the_vocabulary_does_not_have_is_marked(tmp_path: Path) -> None:
    found = report(tmp_path / "m", made.files({"eos_token_id": [3, 99]}))
    assert shown(found)["stop"] == "3, <|end|> (10), 99 (not in the vocabulary)"


def test_of_a_folder_that_is_no_model_only_that_is_shown(tmp_path: Path) -> None:
    found = report(tmp_path / "m", {"notes.txt": b"x"})
    assert set(shown(found)) == {"model"}
    assert "contains no config.json" in verdict(found)[1].text
