"""The chat templates of real models: texts and ids equal those of transformers."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from real.assets import qwen3_tokenizer
from real.fuzz import text
from real.loading import Real, load
from seedbed.jobs.generate import GenerateRequest, read_prompt
from seedbed.tokenizer.chat_template import ChatTemplate
from seedbed.tokenizer.model_files import read_config, special_tokens
from seedbed.tokenizer.render_request import RenderRequest
from seedbed.tokenizer.template_rendering import rendered
from seedbed.tokenizer.tokenizer import Tokenizer
from seedbed.tokenizer.tool_schemas import read_tools

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather <b>now</b> & später, in a place",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"place": "Zürich"}}}


def random_chat(rng: random.Random) -> list[dict[str, Any]]:
    """A chat of any length and order, with tool calls, reasoning, and keys without a value."""
    chat: list[dict[str, Any]] = []
    for _ in range(rng.randint(1, 6)):
        role = rng.choice(("system", "user", "user", "assistant", "assistant", "tool"))
        message: dict[str, Any] = {"role": role, "content": text(rng)}
        if role == "assistant":
            if rng.random() < 0.3:
                message["tool_calls"] = [CALL] * rng.randint(1, 2)
            if rng.random() < 0.3:
                message["reasoning_content"] = text(rng)
            if rng.random() < 0.2:
                message["content"] = f"<think>\n{text(rng)}\n</think>\n\n{text(rng)}"
        if rng.random() < 0.1:
            message["name"] = None
        chat.append(message)
    return chat


def test_random_chats_are_rendered_as_by_transformers(real: Real) -> None:
    template = ChatTemplate.of(real.folder)
    assert template is not None
    variables = special_tokens(read_config(real.folder))
    rng = random.Random(5)
    for _ in range(120):
        chat, prompt = random_chat(rng), rng.random() < 0.5
        tools = [TOOL] if rng.random() < 0.3 else None
        thinking = {"enable_thinking": False} if rng.random() < 0.3 else {}
        expected = real.theirs.apply_chat_template(
            chat, tools=tools, add_generation_prompt=prompt, tokenize=False, **thinking
        )
        answer = rendered(
            RenderRequest(
                source=template.source(),
                messages=chat,
                tools=tools,
                add_generation_prompt=prompt,
                variables={**variables, **thinking},
            )
        )
        assert (answer.text, answer.problem) == (expected, ""), chat


CHATS: dict[str, dict[str, Any]] = {
    "one turn": {"messages": [{"role": "user", "content": "What is the capital of France?"}]},
    "system": {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " Hi \n"}]},
    "several turns": {
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello! 🙂"},
            {"role": "user", "content": "Bye"},
        ]
    },
    "tools": {
        "messages": [
            {"role": "user", "content": "Weather in Zürich?"},
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "content": '{"sky": "<clear>"}'},
        ],
        "tools": [TOOL],
    },
    "empty texts": {"messages": [{"role": "system", "content": ""}, {"role": "user", "content": ""}]},
    "no prompt": {"messages": [{"role": "user", "content": "x"}], "add_generation_prompt": False},
}


@pytest.mark.parametrize("name", CHATS)
def test_the_ids_of_a_chat_equal_those_of_transformers(real: Real, name: str) -> None:
    template = ChatTemplate.of(real.folder)
    assert template is not None
    chat = {"add_generation_prompt": True, **CHATS[name]}
    theirs = real.theirs.apply_chat_template(chat["messages"], **{k: v for k, v in chat.items() if k != "messages"})
    assert template.encode(real.ours, **chat) == theirs["input_ids"]
    assert template.render(**chat) == real.theirs.apply_chat_template(
        chat["messages"], tokenize=False, **{k: v for k, v in chat.items() if k != "messages"}
    )


def test_control_tokens_in_texts_stay_text_as_with_transformers(real: Real) -> None:
    template = ChatTemplate.of(real.folder)
    assert template is not None
    source = template.source()
    # Transformers leaves markers that the template does not write, such as <|fim_prefix|>, as control tokens.
    tokens = [
        token["content"] for token in real.ours.spec["added_tokens"] if token["special"] or token["content"] in source
    ]
    rng = random.Random(6)
    for round_ in range(12):
        chat = [
            {"role": "system", "content": text(rng, tokens)},
            {"role": "user", "content": "".join(rng.choices([*tokens, "a", " b", "\n"], k=12))},
            {"role": "assistant", "content": "Yes."},
            {"role": "tool" if round_ % 2 else "user", "content": text(rng, tokens)},
        ]
        expected = real.theirs.apply_chat_template(chat, add_generation_prompt=True, sanitize_control_tokens=True)
        assert template.encode(real.ours, chat) == expected["input_ids"], chat


def test_no_marker_in_a_users_text_becomes_a_control_token(real: Real) -> None:
    template = ChatTemplate.of(real.folder)
    assert template is not None
    added = [token["content"] for token in real.ours.spec["added_tokens"]]
    plain = template.encode(real.ours, [{"role": "user", "content": "x"}])
    found = template.encode(real.ours, [{"role": "user", "content": "x".join(added)}])
    control = {token["id"] for token in real.ours.spec["added_tokens"]}
    assert [id_ for id_ in found if id_ in control] == [id_ for id_ in plain if id_ in control]


TOOLS = [
    TOOL,
    {"type": "function", "function": {"name": "time", "description": "The time 🕐", "parameters": {"type": "object"}}},
]
QUESTION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather in Zürich?"}]


def ids(folder: Path, tokenizer: Tokenizer, tools: list[dict[str, Any]] | None, name: str | None) -> list[int]:
    """The ids that `seedbed generate --chat` gives the model. `tokenizer`: that of the folder, which takes long to load."""
    request = GenerateRequest(
        checkpoint=str(folder),
        messages=tuple(QUESTION),
        template=name,
        tools=None if tools is None else tuple(tools),
    )
    return read_prompt(request, tokenizer).ids


def test_a_file_of_tools_gives_qwen3_the_ids_that_transformers_gives_it(tmp_path: Path) -> None:
    qwen3 = load("qwen3")
    path = tmp_path / "tools.json"
    path.write_text(json.dumps(TOOLS, indent=2))
    expected = qwen3.theirs.apply_chat_template(QUESTION, tools=TOOLS, add_generation_prompt=True)["input_ids"]
    assert ids(qwen3.folder, qwen3.ours, read_tools(path), None) == expected
    without = qwen3.theirs.apply_chat_template(QUESTION, add_generation_prompt=True)["input_ids"]
    assert ids(qwen3.folder, qwen3.ours, None, None) == without != expected


NAMED = {
    "default": "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}",
    "tool_use": "{% for tool in tools or [] %}{{ tool | tojson }}\n{% endfor %}<|im_start|>{{ messages[-1].content }}",
    "brief": "<|im_start|>{{ messages[-1].content }}{{ tools[0].function.name if tools else 'alone' }}",
}


@pytest.mark.parametrize("as_files", [False, True], ids=["list", "files"])
def test_named_templates_give_the_ids_that_transformers_gives(tmp_path: Path, as_files: bool) -> None:
    from transformers import AutoTokenizer

    folder = tmp_path / "named"
    shutil.copytree(qwen3_tokenizer(), folder)
    config = read_config(folder)
    config["chat_template"] = [{"name": name, "template": source} for name, source in NAMED.items()]
    if as_files:
        del config["chat_template"]
        (folder / "additional_chat_templates").mkdir()
        for name, source in NAMED.items():
            place = "chat_template.jinja" if name == "default" else f"additional_chat_templates/{name}.jinja"
            (folder / place).write_text(source)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    theirs, ours = AutoTokenizer.from_pretrained(folder), Tokenizer.of_model(folder)
    found = set()
    for name in (None, *NAMED):
        for tools in (None, TOOLS):
            expected = theirs.apply_chat_template(QUESTION, tools=tools, chat_template=name)["input_ids"]
            assert ids(folder, ours, tools, name) == expected, (name, tools)
            found.add(tuple(expected))
    assert len(found) == 5, "the default ignores tools; the other two do not"
