"""Generating text in the window: the request, the output, its end, and what can be typed."""

from __future__ import annotations

import asyncio
import string
import time
from typing import Any

import psutil
import pytest
from tests.patience import HANG_S, limit

from seedbed import actions
from seedbed.presentation.generation import FIELDS
from seedbed.tui.fields import NumberField, Prompt
from seedbed.tui.generate import GeneratePanel
from seedbed.tui.models import ModelsPanel

HOSTILE = "[/] [bold]x[/bold] [link=1]y \x1b[31mred\x1b[0m \\ \"q\" 'é' 🦊 漢字 שלום \t{0} %s \u202eabc"
EVERY_CHARACTER = string.ascii_letters + string.digits + string.punctuation + " äöé漢🦊"


def option(user: Any, name: str) -> NumberField:
    found: NumberField = user.window.panel(GeneratePanel).query_one(f"#{name}", NumberField)
    return found


def state_line(user: Any) -> str:
    """The line between the options and the output."""
    return str(user.part_in_a_line("#generate-state"))


def about(user: Any) -> str:
    """What Models shows about the model under the cursor."""
    return str(user.part_in_a_line("#model-about"))


async def generate_endlessly(user: Any) -> None:
    """Start a generation that does not end: with a barely trained model that always takes the likeliest token."""
    if user.window.state.model().name != "birch":
        await user.choose("birch", 5)
        await user.keys("a")
    await generate(user, "Once", max_tokens="100000", temperature="0", samples="16")


async def generate(user: Any, prompt: str, **options: str) -> None:
    """Fill the options, type the prompt, press enter."""
    await user.go(4)
    for name, value in options.items():
        option(user, name.replace("_", "-")).value = value
    field = user.window.panel(GeneratePanel).query_one(Prompt)
    field.text = ""
    await user.paste(prompt)
    await user.keys("enter")


async def wait_for_output(user: Any) -> None:
    """Wait until the generation has ended."""
    await user.until(
        lambda: not user.window.panel(GeneratePanel).busy and "tokens/s" in state_line(user),
        "the end of the generation",
    )


def command_line_output(run: Any, **request: Any) -> str:
    """The text that the command line generates for the same request."""
    lines = actions.ask_checkpoint("generate", run, None, request)
    return "".join(line.get("text", "") for line in lines)


async def test_the_active_model_generates_with_the_values_of_the_fields(
    open_window: Any, store: Any, find_run: Any
) -> None:
    """Prompt, tokens, temperature, top-k and seed are those of the fields; the text equals that of the command line."""
    request = {"prompt": "Once upon", "max_new_tokens": 40, "temperature": 0.9, "top_k": 7, "seed": 5}
    fir = find_run(store, "fir")
    async with open_window(store, (130, 40)) as user:
        await user.go(4)
        await user.type("Once upon")
        for name, value in (("max-tokens", "40"), ("temperature", "0.9"), ("top-k", "7"), ("seed", "5")):
            while user.focus() != name:
                await user.keys("tab")
            await user.keys("home", "ctrl+k")
            await user.type(value)
        await user.see("4 Generate ─ from fir, step 55 · temp 0.9 · top-k 7")
        await user.keys("shift+tab", "enter")
        await user.until(lambda: "generating …" in user.text or "tokens/s" in state_line(user), "the beginning")
        await wait_for_output(user)
        expected = await asyncio.to_thread(lambda: command_line_output(fir, **request))
        assert str(user.screen.query_one("#output").content) == "Once upon" + expected
        assert state_line(user).endswith("seed 5")
        assert ("Once upon" + expected.split("\n")[0])[:30].rstrip() in user.part("#output-scroll")
        # Another model: another text, after the first one.
        await user.choose("oak", 5)
        await user.keys("a")
        await generate(user, "Once upon")
        await wait_for_output(user)
        first, _, other = str(user.screen.query_one("#output").content).partition("\n\nOnce upon")
        assert first == "Once upon" + expected
        assert other not in ("", expected)
        await user.keys("ctrl+l")
        await user.until(lambda: not user.part("#output-scroll").strip(), "the output to be cleared")


async def test_samples_repetition_and_stop_texts_are_passed_on(open_window: Any, store: Any, find_run: Any) -> None:
    """Each sample equals that of the command line, under its own heading, and ends before the stop text."""
    request = {"prompt": "Once", "max_new_tokens": 30, "min_p": 0.05, "repetition_penalty": 1.2, "seed": 5}
    whole = list(actions.ask_checkpoint("generate", find_run(store, "fir"), None, {**request, "num_samples": 2}))
    texts = ["".join(line.get("text", "") for line in whole if line.get("sample") == sample) for sample in (0, 1)]
    stop = texts[1][len(texts[1]) // 2 :][:2]
    assert "|" not in stop
    expected = [text.partition(stop)[0] for text in texts]
    async with open_window(store, (80, 24)) as user:
        for name, value in (
            ("max-tokens", "30"),
            ("min-p", "0.05"),
            ("repetition", "1.2"),
            ("samples", "2"),
            ("seed", "5"),
        ):
            option(user, name).value = value
        user.window.screen.query_one("#stop").value = "never said|" + stop.replace("\n", "\\n")
        await generate(user, "Once")
        await wait_for_output(user)
        output = str(user.screen.query_one("#output").content)
        assert output == f"Once{expected[0]}\n\nsample 2\nOnce{expected[1]}"
        assert state_line(user).startswith("2 samples, ")


async def test_an_empty_prompt_uses_the_default_prompt(open_window: Any, store: Any, find_run: Any) -> None:
    """The empty field shows it, and the model continues it, as `seedbed generate` does without a prompt."""
    fir, oak = find_run(store, "fir"), find_run(store, "oak")
    oak.config.write_text(oak.config.read_text().replace("[train]", '[train]\nsample_prompts = ["The [b]fox"]'))
    opening = actions.default_prompt(fir)
    assert opening
    async with open_window(store, (130, 40)) as user:
        await user.go(4)
        await user.until(lambda: f'(empty: "{opening}")' in user.part_in_a_line("#prompt"), "the default")
        await generate(user, "", max_tokens="8", seed="5")
        await wait_for_output(user)
        expected = await asyncio.to_thread(lambda: command_line_output(fir, prompt=opening, max_new_tokens=8, seed=5))
        assert str(user.screen.query_one("#output").content) == opening + expected
        # Another model has another default prompt.
        await user.choose("oak", 5)
        await user.keys("a")
        await user.until(lambda: '(empty: "The [b]fox")' in user.part_in_a_line("#prompt"), "its default")
        await generate(user, "", max_tokens="3")
        await wait_for_output(user)
        assert "\n\nThe [b]fox" in str(user.screen.query_one("#output").content)


async def test_characters_unknown_to_the_tokenizer_are_reported(open_window: Any, store: Any, job: Any) -> None:
    """They are named beside the figures; for a prompt without such characters there is no message."""
    job(store, "maple", tokenizer__kind="char", train__steps="10").process.wait()
    async with open_window(store, (80, 24)) as user:
        await user.see("4 Generate ─ from maple, step 10")
        await generate(user, "Once ☃", max_tokens="5")
        await wait_for_output(user)
        assert 'The model\'s tokenizer does not know "☃": the model reads an unknown token instead.' in state_line(user)
        await generate(user, "Once", max_tokens="5")
        await wait_for_output(user)
        assert "does not know" not in state_line(user)


async def test_stop_texts_accept_the_escapes_of_the_command_line(
    open_window: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Line breaks, tabs and backslashes are typed as there; a bar separates two texts."""
    requests: list[Any] = []

    def record(verb: str, run: Any, ref: Any, request: Any, *more: Any) -> Any:
        requests.append(request)
        return real(verb, run, ref, request, *more)

    real = actions.ask_checkpoint
    monkeypatch.setattr(actions, "ask_checkpoint", record)
    async with open_window(store, (130, 40)) as user:
        await user.go(4)
        user.screen.query_one("#stop").value = r"\n\n|The\tend|\\n||\d"
        await generate(user, "Once", max_tokens="2")
        await wait_for_output(user)
    assert requests[0]["stop"] == ["\n\n", "The\tend", "\\n", "\\d"]


async def test_a_missing_or_corrupted_checkpoint_is_reported(
    open_window: Any, empty_store: Any, store: Any, find_run: Any
) -> None:
    """No model, and one with truncated weights: the panel shows a message, and another model still works."""
    async with open_window(empty_store, (80, 24)) as user:
        await generate(user, "Once upon")
        await user.see("There is no model yet: press 3 to train one.")
        assert not user.window.panel(GeneratePanel).busy
    fir = find_run(store, "fir")
    weights = max(fir.checkpoints.glob("step-*")) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    async with open_window(store, (130, 40)) as user:
        # The newest model is corrupted, so another one is active; after choosing it by hand the reason is shown.
        assert user.window.state.model().name != "fir"
        await user.choose("fir", 5)
        assert user.cells("fir", "#models-table")["STATUS"] == "corrupted"
        await user.until(lambda: "corrupted: model.safetensors has 1,000 bytes instead of" in about(user))
        await user.keys("a")
        await generate(user, "Once upon")
        await user.until(lambda: not user.window.panel(GeneratePanel).busy, "the end")
        await user.until(lambda: "model.safetensors" in state_line(user), "the reason")
        await user.choose("oak", 5)
        await user.keys("a")
        await generate(user, "Once upon", max_tokens="5")
        await wait_for_output(user)


async def test_any_prompt_is_safe_and_shown_literally(open_window: Any, store: Any, find_run: Any) -> None:
    """Markup, escapes, other scripts, a long prompt: the model gets it unchanged, the screen shows it as text."""
    fir = find_run(store, "fir")
    async with open_window(store, (130, 40)) as user:
        await generate(user, HOSTILE, max_tokens="8", temperature="0", seed="1")
        await wait_for_output(user)
        sent = user.window.panel(GeneratePanel).query_one(Prompt).text
        assert sent.startswith("[/] [bold]x[/bold] [link=1]y ")
        request = {"prompt": sent, "max_new_tokens": 8, "temperature": 0.0, "top_k": 0, "top_p": 1, "seed": 1}
        expected = await asyncio.to_thread(lambda: command_line_output(fir, **request))
        assert expected
        assert str(user.screen.query_one("#output").content).endswith(expected)
        for part in ("#prompt", "#output-scroll"):
            seen = user.part_in_a_line(part)
            assert "[/] [bold]x[/bold] [link=1]y" in seen
            assert "\\ \"q\" 'é' 🦊 漢字 שלום" in seen
        assert "\x1b" not in user.text
        assert "\u202e" not in user.text
        await generate(user, "a b\n" * 2500)
        await wait_for_output(user)
        # The end of the output is visible.
        last = str(user.screen.query_one("#output").content).split()[-1]
        await user.until(lambda: last in user.part("#output-scroll").split("\n")[-1], "the end of the text")


async def test_invalid_options_are_reported_and_nothing_starts(open_window: Any, store: Any) -> None:
    """A value that is not a number, or out of range, is named before a process starts."""
    async with open_window(store, (80, 24)) as user:
        await user.go(4)
        for name, value in (("temperature", "hot"), ("max-tokens", "0"), ("top-p", "1.5"), ("seed", "-1")):
            kept = option(user, name).value
            option(user, name).value = value
            await user.until(lambda value=value: value in state_line(user), value)
            await user.keys("enter")
            await user.until(
                lambda name=name, value=value: f"{FIELDS[name].label}: {value}" in state_line(user), f"{name}, {value}"
            )
            assert not user.window.panel(GeneratePanel).busy
            option(user, name).value = kept


async def test_the_window_responds_while_a_model_generates_and_esc_cancels_at_once(
    open_window: Any, store: Any
) -> None:
    """Keys are handled meanwhile; esc ends the process, and the output stays."""
    times = []
    async with open_window(store, (130, 40)) as user:
        panel = user.window.panel(GeneratePanel)
        for _ in range(6):
            await generate_endlessly(user)
            await user.until(lambda: len(str(user.screen.query_one("#output").content)) > 200, "a text")
            assert panel.busy
            process = psutil.Process(panel._child._process.pid)
            assert "generating … esc cancels" in state_line(user)
            before = str(user.screen.query_one("#output").content)
            await user.type(" more")
            assert panel.query_one(Prompt).text == "Once more"
            await user.until(lambda before=before: str(user.screen.query_one("#output").content) != before)
            await user.repeat("enter", 1)
            await user.see("A text is still being generated: esc cancels.")
            began = time.monotonic()
            user.send("escape")
            while process.is_running() or panel.busy:
                assert time.monotonic() - began < limit(10)
                await asyncio.sleep(0.002)
            times.append(time.monotonic() - began)
            await user.until(lambda: state_line(user) == "cancelled", "the message")
            # The panel keeps the end of a long text, so a slow machine may have lost the prompt.
            assert len(str(user.screen.query_one("#output").content)) > 200
            if times[-1] < limit(0.05):
                break
            await user.keys("ctrl+l")
        # A busy machine may delay some of them.
        assert min(times) < limit(0.05), times


async def test_the_generating_process_ends_with_the_window(open_window: Any, store: Any) -> None:
    """Closing the window while a model generates leaves no process behind."""
    async with open_window(store, (80, 24)) as user:
        panel = user.window.panel(GeneratePanel)
        await generate_endlessly(user)
        await user.until(lambda: panel._child is not None, "the process")
        process = psutil.Process(panel._child._process.pid)
        await user.keys("ctrl+q")
    process.wait(HANG_S)


@pytest.mark.slow
async def test_output_can_be_scrolled_back_while_it_grows(open_window: Any, store: Any) -> None:
    """The view follows the end until the user scrolls back; j and k do not scroll, they are for tables."""
    async with open_window(store, (80, 24)) as user:
        panel = user.window.panel(GeneratePanel)
        scroll = panel.query_one("#output-scroll")
        await generate_endlessly(user)
        await user.until(lambda: scroll.max_scroll_y > 30, "a long text")
        await user.until(lambda: scroll.scroll_y >= scroll.max_scroll_y - 1, "its end in sight")
        while user.focus() != "output-scroll":
            await user.repeat("tab", 1)
        await user.repeat("home", 1)
        await user.until(lambda: scroll.scroll_y == 0, "the top")
        grown = scroll.max_scroll_y
        await user.type("jkjj")
        await user.until(lambda: scroll.max_scroll_y > grown, "more text")
        assert scroll.scroll_y == 0
        await user.see("Once")
        await user.repeat("end", 1)
        await user.until(lambda: scroll.scroll_y >= scroll.max_scroll_y - 1, "the end again")
        await user.repeat("escape", 1)
        await user.until(lambda: not panel.busy)


async def test_the_prompt_accepts_every_character(open_window: Any, store: Any) -> None:
    """Each letter, digit and punctuation mark is typed, none is a command; ctrl+j starts a new line."""
    async with open_window(store, (80, 24)) as user:
        await user.go(4)
        prompt = user.window.panel(GeneratePanel).query_one(Prompt)
        before = user.window.state.chosen
        await user.type(EVERY_CHARACTER)
        assert prompt.text == EVERY_CHARACTER
        assert user.focus() == "prompt"
        assert len(user.window.screen_stack) == 1
        assert user.window.state.chosen == before
        assert not user.window.screen_stack[0].has_class("-zoomed")
        await user.keys("backspace", "left", "delete", "ctrl+j")
        await user.type("k")
        assert prompt.text == EVERY_CHARACTER[:-2] + "\nk"
        await user.keys("home")
        await user.type("j ")
        assert prompt.text == EVERY_CHARACTER[:-2] + "\nj k"
        await user.keys("tab")
        assert user.focus() == "max-tokens"


@pytest.mark.parametrize(
    ("panel", "keys", "selector"),
    [(1, ("slash",), "#filter"), (3, ("tab",), "#run-name"), (3, ("tab", "tab", "tab"), "#data"), (1, ("e",), "#name")],
)
async def test_other_fields_accept_every_character(
    open_window: Any, store: Any, panel: int, keys: tuple[str, ...], selector: str
) -> None:
    """The filter, names and the data source accept them too."""
    async with open_window(store, (80, 24)) as user:
        await user.go(panel)
        await user.keys(*keys)
        field = user.screen.query_one(selector)
        assert user.window.focused is field
        field.value = ""
        characters = "qzr?12345hjkl[]/ ADRGgpsewvxym+-=<>,.0 é漢"
        await user.type(characters)
        assert field.value == characters
        assert user.window.focused is field


async def test_letters_in_number_fields_are_reported_and_are_not_commands(open_window: Any, store: Any) -> None:
    """In a number field + and - change the number, and letters are typed and reported; the focus stays."""
    async with open_window(store, (80, 24)) as user:
        await user.go(4)
        await user.keys("tab")
        await user.keys("+", "+", "-")
        assert option(user, "max-tokens").value == "110"
        await user.type("kjq1z?")
        assert option(user, "max-tokens").value == "110kjq1z?"
        await user.until(lambda: "110kjq1z? is not a whole number" in state_line(user))
        assert user.focus() == "max-tokens"
        await user.keys("escape")
        assert user.focus() == "output-scroll"
        await user.keys("5")
        assert user.focus() == "models-table"
        assert user.window.panel(ModelsPanel).table.current is not None
