"""The report card as a page: hostile text stays text, nothing is loaded, and its figures are those of the rows."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from reported import an_edit, chat_with_tools, dataset, measured
from seedbed.curation.drops import Drops
from seedbed.curation.folder import REPORT_HTML, REPORT_JSON
from seedbed.curation.record import Licence, Message, Provenance, Record, Redaction
from seedbed.curation.report.drawing import percent
from seedbed.curation.report.measured import Measured, Verification
from seedbed.curation.report.summary import counted, read_report, summarise
from seedbed.curation.report.writing import store_report, write_report
from seedbed.errors import SeedbedError
from split_rows import chat, fim, named

HOSTILE = (
    "</pre></style><script>alert(1)</script><img src=x onerror=alert(2)>"
    "\x1b[31mred\x1b]0;title\x07 \u202egnp.exe\u2066 \"'&"
)
VOID = {"meta", "rect", "br"}


class Elements(HTMLParser):
    """The elements of a page, its attributes and its text; refuses elements that are not closed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text.append(data)

    def closed(self) -> bool:
        return not self._open


def read(html: str) -> Elements:
    found = Elements()
    found.feed(html)
    found.close()
    assert found.closed()
    return found


def hostile_dataset(folder: Path) -> str:
    """The page of a dataset in which every text is hostile."""
    origin = Provenance(source=HOSTILE, repository=HOSTILE, path=HOSTILE, model=HOSTILE, time="2026-01-01T00:00:00Z")
    bad = named(
        Record(
            kind="chat",
            messages=[Message(role="user", content=HOSTILE), Message(role="assistant", content=HOSTILE)],
            language=HOSTILE,
            licence=Licence(spdx=HOSTILE, found_in=HOSTILE),
            redactions=[Redaction(rule=HOSTILE, count=1)],
            provenance=origin,
        )
    )
    tool = chat_with_tools()
    for message in tool.messages or ():
        for call in message.tool_calls or ():
            message.tool_calls = [type(call)(id="1", function=type(call.function)(name=HOSTILE, arguments="{}"))]
    later = chat("later", "later", time="2026-02-01T00:00:00Z")
    gap = fim("abc", 1, 2, HOSTILE, HOSTILE)
    gap.span = gap.order = HOSTILE
    drops = Drops()
    drops.drop(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    drops.note(HOSTILE, HOSTILE)
    pair = {"share": 0.5, "eval_row": HOSTILE, "train_row": HOSTILE, "answer": HOSTILE}
    leakage = {"answers": 10, "leaked": 0, "level": HOSTILE, "messages": [HOSTILE], "worst": [pair]}
    duplicates = {"records": 3, "largest": [{"name": HOSTILE, "size": 2, "example": HOSTILE}]}
    sets = [{"name": HOSTILE, "items": 9, "found": 2, "repeated": 1, "dropped": 3}]
    items = [{"set_name": HOSTILE, "item": HOSTILE, "field": HOSTILE, "share": 0.4, "dropped": 3, "example": HOSTILE}]
    path, description = dataset(
        folder,
        [bad, tool, gap, later],
        drops=drops,
        name=HOSTILE,
        command=HOSTILE,
        steps=[HOSTILE],
        settings={HOSTILE: {HOSTILE: HOSTILE}},
        inputs=[
            {
                "name": HOSTILE,
                "made": HOSTILE,
                "command": HOSTILE,
                "rows": 1,
                "drops": [[HOSTILE, HOSTILE, 1]],
                "inputs": [{"name": HOSTILE}],
            }
        ],
        facts={"leakage": leakage, "duplicates": duplicates, "evaluation_sets": sets, "evaluation_items": items},
    )
    summary = write_report(path, description, counted(path, description))
    tokens = measured(HOSTILE)
    tokens.templates.append(
        Verification(
            name=HOSTILE,
            strategies={HOSTILE: True},
            sentences=[HOSTILE],
            uncertain=[HOSTILE],
            refused_probes={HOSTILE: HOSTILE},
        )
    )
    summary.tokens = tokens
    store_report(path, summary)
    return (path / REPORT_HTML).read_text(encoding="utf-8")


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    html = hostile_dataset(tmp_path / "bad")
    found = read(html)
    assert not found.tags & {"script", "img", "a", "link", "iframe", "object", "form"}
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert "".join(found.text).count("<script>alert(1)</script>") > 12  # it is shown in each place
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", html)


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    html = hostile_dataset(tmp_path / "bad")
    found = read(html)
    assert not [value for name, value in found.attributes if name in ("src", "href", "srcset", "action", "xlink:href")]
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in html
    assert "prefers-color-scheme: dark" in style
    assert "max-width: 520px" in style


def test_the_figures_are_those_of_the_rows(tmp_path: Path) -> None:
    train = [chat(f"Question {n}", f"Answer {n}" * 9) for n in range(700)] + [
        fim("abcdefgh", 2, 5, f"{n}.py") for n in range(534)
    ]
    evaluated = [chat(f"Other {n}", f"Answer {n}") for n in range(66)]
    drops = Drops()
    for number in range(1500):
        drops.drop("files", "generated file", f"gen/{number}.py", "x = 1")
    drops.drop("split", "shows an evaluation answer", "a.py", "")
    facts = {"leakage": {"answers": 66, "leaked": 0, "level": "links", "groups": 1300}}
    path, description = dataset(
        tmp_path / "full", train, evaluated, drops, facts=facts, command="seedbed data merge a b"
    )
    seen: list[int] = []
    summary = write_report(path, description, counted(path, description, seen.append))
    assert summary == read_report(path, description)
    assert summary.rows == 1300
    assert sum(seen) == sum(each.size_bytes for each in description.files.values())
    assert len(seen) >= 13  # often enough for a progress bar
    text = " ".join(read((path / REPORT_HTML).read_text()).text)
    for shown in ("1,234 training rows", "66 evaluation rows", "1,501 left out", "generated file", "gen/2.py", "a b"):
        assert shown in re.sub(r"\s+", " ", text)
    assert "gen/3.py" not in text  # three examples of each reason
    assert "0 of 66 evaluation answers" in text


def test_what_was_left_out_of_the_inputs_is_counted_over_all_of_them(tmp_path: Path) -> None:
    logs = {"name": "logs", "drops": [["logs", "empty", 2]], "inputs": [{"name": "-home-me-app", "rows": 7}]}
    before = {"name": "first", "drops": [["files", "lock file", 3], ["logs", "empty", 1]], "inputs": [logs]}
    path, description = dataset(tmp_path / "full", [an_edit()], inputs=[before, logs])
    summary = summarise(path, description)
    assert [(each.reason, each.count) for each in summary.left_out_before] == [("empty", 5), ("lock file", 3)]
    write_report(path, description, counted(path, description))
    assert "When the inputs were made: 8" in (path / REPORT_HTML).read_text()


def page_of(folder: Path, tokens: Measured, **facts: object) -> str:
    """The text of the page of a dataset of a conversation, with these tokens and facts."""
    path, description = dataset(folder, [chat("a", "b")], [chat("c", "d")], facts=facts)
    summary = write_report(path, description, counted(path, description))
    summary.tokens = tokens
    store_report(path, summary)
    assert read_report(path, description) == summary
    return re.sub(r"\s+", " ", " ".join(read((path / REPORT_HTML).read_text()).text))


def test_tokens_that_were_measured_are_shown_with_what_fits_and_the_template(tmp_path: Path) -> None:
    text = page_of(tmp_path / "full", measured())
    for shown in (
        "1k tokens at a context of 64",
        "25 % of the tokens are trained",
        "conversation 2 1k",
        "98.76 % of the positions of 3 packed rows",
        "left out: 2 (17 %)",
        "small 2",
        "2 independent ways find the same tokens of the assistant with the template of small",
        "comparison with the chat before the turn: finds every turn, and agrees",
        "{% generation %} marks in the template: finds no turns",
    ):
        assert shown in text
    assert "characters, about" not in text.partition("What is in it")[0]


def test_a_template_that_was_refused_is_said_plainly(tmp_path: Path) -> None:
    text = page_of(tmp_path / "full", measured(problem="Two ways disagree at probe 3."))
    assert "✗ Chat template Two ways disagree at probe 3." in text
    assert "Refused for default" in text


def test_what_evaluation_sets_have_in_common_with_rows_is_shown_with_the_worst_items(tmp_path: Path) -> None:
    sets = [{"name": "eval.jsonl", "items": 164, "found": 20, "repeated": 5, "dropped": 7}]
    items = [
        {
            "set_name": "eval.jsonl",
            "item": f"task-{n}",
            "field": "solution",
            "share": n / 20,
            "dropped": n % 2,
            "kept": 3,
        }
        for n in range(20)
    ]
    leakage = {"answers": 50, "leaked": 0}
    text = page_of(tmp_path / "full", measured(), evaluation_sets=sets, evaluation_items=items, leakage=leakage)
    assert "7 rows that repeated 5 of 164 items were left out." in text
    assert "eval.jsonl 164 20 5 7" in text
    assert text.index("95 % solution of task-19") < text.index("90 % solution of task-18")
    assert "task-2 " not in text
    without = page_of(tmp_path / "other", measured(), leakage=leakage)
    assert "Not compared with any." in without


def test_a_leak_is_said_plainly(tmp_path: Path) -> None:
    facts = {"leakage": {"answers": 50, "leaked": 9, "level": "links"}}
    path, description = dataset(tmp_path / "bad", [chat("a", "b")], [chat("c", "d")], facts=facts)
    write_report(path, description, counted(path, description))
    html = (path / REPORT_HTML).read_text()
    assert '<li class="bad"><i aria-hidden="true">✗</i><div><b>Evaluation answers in training</b>' in html
    assert "9 of 50 evaluation answers" in html


def test_an_empty_dataset_has_a_page(tmp_path: Path) -> None:
    path, description = dataset(tmp_path / "empty", [])
    write_report(path, description, counted(path, description))
    assert "A dataset of 0 rows" in "".join(read((path / REPORT_HTML).read_text()).text)


def test_a_dataset_before_the_split_says_so(tmp_path: Path) -> None:
    path, description = dataset(tmp_path / "logs", [chat("a", "b")])
    (path / "train.jsonl").rename(path / "records.jsonl")
    (path / "eval.jsonl").unlink()
    description.files = {"records.jsonl": description.files["train.jsonl"]}
    write_report(path, description, counted(path, description))
    text = " ".join(read((path / REPORT_HTML).read_text()).text)
    assert "rows, not split yet" in text
    assert "evaluation" not in text.replace("evaluation sets", "")


def test_figures_of_other_rows_are_not_used_and_damaged_ones_are_named(tmp_path: Path) -> None:
    path, description = dataset(tmp_path / "full", [an_edit()])
    assert read_report(path, description) is None
    write_report(path, description, counted(path, description))
    description.fingerprint = "0" * 64
    assert read_report(path, description) is None
    (path / REPORT_JSON).write_text('{"format": 1, "name": 3}')
    with pytest.raises(SeedbedError, match=r"report\.json\" is damaged"):
        read_report(path, description)


def test_summing_up_names_the_line_of_a_bad_row(tmp_path: Path) -> None:
    path, description = dataset(tmp_path / "full", [an_edit()])
    (path / "train.jsonl").write_text("{}\n")
    with pytest.raises(SeedbedError, match="Line 1 of"):
        summarise(path, description)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (0, "0 %"),
        (1, "under 0.1 %"),
        (40, "0.4 %"),
        (1200, "12 %"),
        (9960, "99.6 %"),
        (9999, "99.9 %"),
        (10_000, "100 %"),
    ],
)
def test_only_the_whole_is_100_percent(part: int, expected: str) -> None:
    assert percent(part, 10_000) == expected
