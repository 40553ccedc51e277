"""What a trained model writes reaches the reader as it should: bare when piped, safe on a terminal, whole in JSON."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

import patience

WRITTEN = " and\u200b then \x1b[31m T=0.8 k=0\n"


@pytest.fixture
def trained(desk: Any) -> Any:
    desk.train("--name", "alpha")
    return desk


def test_piped_it_is_prompt_continuation_newline_alone(trained: Any) -> None:
    done = trained.seedbed("generate", "alpha", "--prompt", "The fox")
    assert done.stdout == "The fox" + WRITTEN + "\n"
    assert done.stderr == ""


def test_options_reach_the_writer(trained: Any) -> None:
    out = trained.seedbed(
        "generate", "--prompt", "", "--temperature", "0", "--top-k", "40", "--num-samples", "2"
    ).stdout
    assert out == 2 * " and\u200b then \x1b[31m T=0 k=40\n\n"


def test_json_is_an_object_a_line(trained: Any) -> None:
    out = trained.seedbed("generate", "--prompt", "Él", "--num-samples", "2", "--json").stdout
    first, second = (json.loads(line) for line in out.splitlines())
    assert first["prompt"] == "Él"
    assert first["text"] == WRITTEN
    assert (first["sample"], second["sample"], second["seed"]) == (0, 1, 8)
    assert first["run"] == trained.status()["id"]
    assert "\x1b" not in out


def test_a_chat_prints_the_answer_alone(trained: Any) -> None:
    assert trained.seedbed("generate", "alpha", "--chat", "--prompt", "The fox").stdout == WRITTEN + "\n"
    words = ("generate", "alpha", "--chat", "--system", "Be brief.", "-p", "Él", "--json")
    result = json.loads(trained.seedbed(*words).stdout)
    assert result["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Él"}]
    assert (result["prompt"], result["text"]) == ("Él", WRITTEN)


def test_a_chat_needs_a_message_and_a_system_prompt_needs_a_chat(trained: Any) -> None:
    for message in ((), ("--prompt", ""), ("--prompt", " \n")):
        assert "needs a message" in trained.seedbed("generate", "alpha", "--chat", *message, expect=2).stderr
    assert "Add --chat" in trained.seedbed("generate", "alpha", "-p", "x", "--system", "y", expect=2).stderr


def test_tools_and_a_template_reach_the_process_that_generates(trained: Any) -> None:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    (trained.folder / "tools.json").write_text(json.dumps(tools))
    words = ("generate", "alpha", "--chat", "-p", "x", "--tools", "tools.json", "--template", "chat", "--json")
    done = trained.seedbed(*words)
    result = json.loads(done.stdout)
    assert (result["tools"], result["template"]) == (tools, "chat")
    assert (
        done.stderr == 'warning: The chat template "chat" ignores tools, so the model does not see those of --tools.\n'
    )


def test_wrong_tools_are_refused_before_the_model_is_loaded(trained: Any) -> None:
    (trained.folder / "tools.json").write_text('[\n{"type": "function"}]')
    for name, said in (("tools.json", "tool 1 of 1"), ("nowhere.json", "nowhere.json"), ("", "the file name is empty")):
        done = trained.seedbed("generate", "alpha", "--chat", "-p", "x", "--tools", name, expect=2)
        assert said in done.stderr
        assert done.stdout == ""
    for option in ("--tools", "--template"):
        assert "Add --chat" in trained.seedbed("generate", "alpha", "-p", "x", option, "y", expect=2).stderr


def test_the_prompt_may_come_from_stdin_a_file_or_the_run(trained: Any) -> None:
    assert trained.seedbed("generate", "--prompt", "-", stdin="two\nlines\n").stdout.startswith("two\nlines and")
    path = trained.folder / "p.txt"
    path.write_text("from a file")
    assert trained.seedbed("generate", "--prompt-file", str(path)).stdout.startswith("from a file and")
    assert trained.seedbed("generate").stdout.startswith("It was a dark night and")
    own = trained.train("--name", "own", "--set", 'train.sample_prompts=["My prompt"]')
    assert trained.seedbed("generate", own).stdout.startswith("My prompt and")


UNDERSTOOD = [
    (["a prompt"], "beta", "a prompt"),
    (["Hello!"], "beta", "Hello!"),
    (["@alice said hi"], "beta", "@alice said hi"),
    (["alpha"], "alpha", "It was a dark night"),
    (["alpha", "--temp", "0", "a prompt"], "alpha", "a prompt"),
    (["-n", "5", "alpha", "--seed", "1", "beta"], "alpha", "beta"),
    (["alpha", "-p", "a prompt"], "alpha", "a prompt"),
]


def test_run_and_prompt_are_told_apart(trained: Any) -> None:
    trained.train("--name", "beta")
    for words, run, prompt in UNDERSTOOD:
        written = json.loads(trained.seedbed("generate", *words, "--json").stdout)
        assert written["run"].endswith(run), words
        assert written["prompt"] == prompt, words


SLIPS = [
    (["alpa"], ["There is no run", "alpa", "Did you mean", "alpha", "seedbed generate --prompt alpa"]),
    (["my alpa novl"], ["There is no run", "my alpha novel", "--prompt 'my alpa novl'"]),
    (["hub: the centre"], ["not a valid name", "--prompt 'hub: the centre'"]),
    (["notes.txt"], ["There is no run", "--prompt-file notes.txt"]),
    (["hello", "world"], ["There is no run", "hello", "--prompt 'hello world'"]),
    (["Once", "upon", "a", "time"], ["Once upon a time", "quotes"]),
    (["alpha", "one", "--prompt", "two"], ["twice"]),
]


def test_words_that_may_be_a_slip_are_asked_about(trained: Any) -> None:
    trained.train("--name", "my alpha novel")
    (trained.folder / "notes.txt").write_text("Notes.")
    for words, said in SLIPS:
        told = trained.seedbed("generate", *words, expect=2).stderr
        assert all(part in told for part in said), told


def model_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def test_a_checkpoint_is_named_by_its_path(trained: Any) -> None:
    def used(*words: str) -> tuple[str | None, str, str]:
        told = json.loads(trained.seedbed("generate", *words, "--json").stdout)
        return told["run"], Path(told["checkpoint"]).name, told["prompt"]

    status = trained.status()
    run = status["id"]
    folder = model_folder(Path(status["path"]) / "checkpoints" / "step-00000020")
    aside = model_folder(Path(status["path"]) / "checkpoints" / "left-behind" / "step-00000025")
    elsewhere = model_folder(trained.folder / "copied")
    opening = "It was a dark night"
    assert used(str(folder)) == (run, "step-00000020", opening)
    assert used(f"runs/{run}/checkpoints/step-00000020/") == (run, "step-00000020", opening)
    assert used(str(folder / "model.safetensors"), "Hi") == (run, "step-00000020", "Hi")
    assert used(str(aside)) == (run, "step-00000025", opening)
    assert used(str(elsewhere), "Hi") == (None, "copied", "Hi")
    assert used("copied", "Hi") == (None, "copied", "Hi")
    trained.train("--name", "copied")
    assert used("copied", "Hi")[1] == "step-00000030", "a folder hid the run of its name"
    assert used("./copied", "Hi")[1] == "copied"
    assert "--checkpoint" in trained.seedbed("generate", str(folder), "--checkpoint", "10", expect=2).stderr
    assert "copied" in trained.seedbed("score", "./copied", expect=2).stderr


@pytest.mark.parametrize("verb", ["generate", "score"])
def test_ctrl_c_ends_the_writing_at_once_without_a_traceback(trained: Any, verb: str) -> None:
    process = trained.start(verb, env={"FAKE_FAIL": "endless"}, stdin=subprocess.DEVNULL)
    told = Path(trained.status()["path"]) / "checkpoints" / "child"
    trained.wait(lambda: told.exists() and told.read_text())
    child = int(told.read_text())
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=patience.HANG_S)
    assert (process.returncode, out, err) == (130, "", "")
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def piped_prompt(trained: Any, text: str, *words: str) -> str:
    """The prompt of a process that gets a text through a pipe."""
    process = trained.start("generate", "--json", *words, stdin=subprocess.PIPE)
    out, err = process.communicate(text, timeout=patience.HANG_S)
    assert process.returncode == 0, err
    prompt: str = json.loads(out)["prompt"]
    return prompt


def test_a_prompt_may_be_piped_in(trained: Any) -> None:
    assert piped_prompt(trained, "The fox\nran\n\n", "alpha") == "The fox\nran\n"
    assert piped_prompt(trained, "\ufeffTwo\r\nlines\r\n") == "Two\nlines"
    assert piped_prompt(trained, "The fox", "alpha", "said") == "said"
    assert piped_prompt(trained, "", "alpha") == "It was a dark night"
    path = trained.folder / "from.txt"
    path.write_text("from a file\n")
    with path.open("rb") as opened:
        process = trained.start("generate", "--json", stdin=opened)
        assert json.loads(process.communicate(timeout=patience.HANG_S)[0])["prompt"] == "from a file"


def test_a_prompt_reaches_the_model_as_training_text_does(trained: Any) -> None:
    raw = b"\xef\xbb\xbfTwo\r\nlines\r\n"
    (trained.folder / "p.txt").write_bytes(raw)
    for words, stdin in (
        (["--prompt-file", "p.txt"], None),
        (["--prompt", "-"], raw),
        (["alpha", "-"], raw),
        (["-"], raw),
    ):
        told = json.loads(trained.seedbed("generate", "--json", *words, stdin=stdin).stdout)
        assert told["prompt"] == "Two\nlines"


def test_escapes_in_a_stop_text_are_understood(trained: Any) -> None:
    out = trained.seedbed("generate", "-p", "x", "--json", "--stop", r"\n\n", "--stop", r"a\\n\d").stdout
    assert json.loads(out)["text"] == WRITTEN + "\n\n" + r"a\n\d", "the request did not hold what was meant"
    assert r"\n" in trained.seedbed("generate", "--help").stdout


def test_what_the_tokenizer_lacks_is_named(trained: Any) -> None:
    done = trained.seedbed("generate", "-p", "caf\u00e9")
    assert 'U+0007, "é"' in done.stderr
    assert "\x07" not in done.stderr
    assert done.stdout.startswith("café and")


def test_bad_prompts(trained: Any) -> None:
    assert "UTF-8" in trained.seedbed("generate", "--prompt", "-", stdin=b"\xff\xfe", expect=2).stderr
    assert "-f UTF-16" in trained.seedbed("generate", "--prompt", "-", stdin="é".encode("utf-16"), expect=2).stderr
    assert "prompt" in trained.seedbed("generate", "--prompt-file", "nowhere.txt", expect=2).stderr
    script = [*trained.start("--version").args[:2], "generate", "--prompt", b"\xff"]
    done = subprocess.run(script, cwd=trained.folder, env=trained.environment, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--temperature", "-1"),
        ("--temperature", "nan"),
        ("--temperature", "warm"),
        ("--temperature", "1e400"),
        ("--top-k", "-3"),
        ("--top-p", "1.5"),
        ("--min-p", "-0.1"),
        ("--max-new-tokens", "0"),
        ("--num-samples", "0"),
        ("--seed", "1.5"),
        ("--seed", "99999999999999999999"),
        ("--checkpoint", "12345"),
    ],
)
def test_nonsense_is_refused_with_status_2(trained: Any, words: tuple[str, str]) -> None:
    done = trained.seedbed("generate", "--prompt", "x", *words, expect=2)
    assert done.stdout == ""
    assert words[0].lstrip("-").replace("-", "") in done.stderr.replace("-", "")


def test_checkpoints_by_step_latest_best_and_path(trained: Any) -> None:
    run = trained.status()

    def used(*words: str) -> int:
        out = trained.seedbed("generate", "--prompt", "x", "--json", *words).stdout
        return int(Path(json.loads(out)["checkpoint"]).name[5:])

    assert used() == used("--checkpoint", "latest") == 30
    assert used("--checkpoint", "10") == used("--checkpoint", "step-00000010") == 10
    assert used("--checkpoint", "best") == 30, "the lowest validation loss is that of the last one"
    folder = Path(run["path"]) / "checkpoints" / "step-00000020"
    (folder / "model.safetensors").write_bytes(b"")
    assert used("--checkpoint", str(folder)) == 20
    done = trained.seedbed("generate", "--checkpoint", "15", expect=2)
    assert "10, 20, 30" in done.stderr


def test_a_run_without_a_checkpoint(desk: Any) -> None:
    desk.seedbed("train", "--name", "empty", expect=2, env={"FAKE_FAIL": "usage"})
    assert "no checkpoint" in desk.seedbed("generate", "empty", expect=1).stderr
    process = desk.start("train", "--name", "slow", env={"FAKE_STEP_S": "1"})
    desk.at_step(1)
    assert "-slow --wait` saves a checkpoint" in desk.seedbed("generate", "slow", expect=1).stderr
    process.kill()
    desk.seedbed("stop", "slow", "--wait")
    desk.seedbed("delete", "slow", "--yes")
    assert "run with a checkpoint" in desk.seedbed("generate", expect=2).stderr
    desk.train("--name", "full")
    desk.seedbed("train", "--name", "empty too", expect=2, env={"FAKE_FAIL": "usage"})
    assert desk.seedbed("generate").stdout, "the newest with a checkpoint was not found"


def test_a_checkpoint_that_is_deleted_meanwhile_is_chosen_anew(trained: Any) -> None:
    out = trained.seedbed("generate", "--prompt", "x", "--json", env={"FAKE_FAIL": "generate-vanish"}).stdout
    assert json.loads(out)["checkpoint"].endswith("step-00000020")


def test_what_the_writer_reports_is_told(trained: Any) -> None:
    told = trained.seedbed("generate", expect=1, env={"FAKE_FAIL": "generate"}).stderr
    assert "The checkpoint is cut." in told
    assert "Name another." in told


def test_a_reader_that_leaves_ends_the_writer(trained: Any) -> None:
    process = trained.start("generate", "--num-samples", "1000", env={"FAKE_STEP_S": "0.05"})
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=patience.HANG_S) == 141
    assert "Traceback" not in process.stderr.read()


def test_a_long_path_is_cut_to_one_row_while_the_model_is_loaded(trained: Any) -> None:
    folder = model_folder(trained.folder / "a-long-name-of-a-folder-for-models" / "small")
    shown = trained.terminal("generate", str(folder), "--prompt", "x", "--seed", "7", columns=40, env={"NO_COLOR": "1"})
    line = re.search(r"loading (\S+) \.\.\.", shown)
    assert line is not None
    assert len(line[0]) == 39
    assert line[1].startswith("…")
    assert line[1].endswith("-models/small")
    assert shown.endswith("4 tokens, 8 tokens/s, token limit\nreached, seed 7\n")


def test_on_a_terminal_nothing_steers_it(trained: Any) -> None:
    leader, terminal = pty.openpty()
    process = trained.start(
        "generate", "--prompt", "The \x07fox", "--seed", "7", env={"TERM": "xterm"}, stdout=terminal
    )
    os.close(terminal)
    shown = b""
    while True:
        try:
            block = os.read(leader, 4096)
        except OSError:
            break
        if not block:
            break
        shown += block
    os.close(leader)
    assert process.wait(timeout=patience.HANG_S) == 0
    assert shown.decode().replace("\r\n", "\n") == "The fox and then  T=0.8 k=0\n\n"
    assert "4 tokens, 8 tokens/s, token limit reached, seed 7" in process.stderr.read()
