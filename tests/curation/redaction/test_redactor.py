"""Tests of redacted texts: placeholders, JSON, parts of one text, names, and hashes that say nothing."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import patience
from planted_secrets import filled
from seedbed.curation.redaction.redactor import Numbering, RedactionOptions, Redactor

KEY = bytes(range(32))
REDACTOR = Redactor(KEY)
TOKEN = filled("ghp_{A*36}")
OTHER = filled("ghp_{A*36}", "other")
PASSWORD = filled("{A*9}7{A*4}")


def test_the_same_value_has_the_same_placeholder() -> None:
    text = f"{TOKEN} {OTHER} {TOKEN} q@acme.io r@acme.io q@acme.io"
    found = REDACTOR.redact(text)
    assert found.text == "<GITHUB_TOKEN_1> <GITHUB_TOKEN_2> <GITHUB_TOKEN_1> <EMAIL_1> <EMAIL_2> <EMAIL_1>"
    assert dict(found.counts) == {"github-personal-token": 3, "e-mail": 3}


def test_texts_of_one_record_share_their_numbers() -> None:
    numbering = Numbering()
    assert REDACTOR.redacted(f"a {TOKEN}", numbering) == "a <GITHUB_TOKEN_1>"
    assert REDACTOR.redacted(f"{OTHER} {TOKEN}", numbering) == "<GITHUB_TOKEN_2> <GITHUB_TOKEN_1>"


def test_only_a_keyed_hash_of_a_value_is_told() -> None:
    found = REDACTOR.redact(f"{TOKEN} and {TOKEN}")
    assert len(set(found.hashes)) == 1
    rule, hashed = found.hashes[0]
    assert (rule, len(hashed)) == ("github-personal-token", 16)
    assert TOKEN not in repr(found)
    assert Redactor(bytes(32)).redact(TOKEN).hashes[0][1] != hashed
    assert REDACTOR.redact(f"x {TOKEN}").hashes[0][1] == hashed


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Redactor(b"short")


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(),
            st.sampled_from([TOKEN, OTHER, "q@acme.io", "password = ", f'"{PASSWORD}"', "/home/quent/x", "\n"]),
        )
    )
)
def test_redaction_of_a_redacted_text_changes_nothing(pieces: list[str]) -> None:
    once = REDACTOR.redact_text("".join(pieces))
    assert REDACTOR.redact_text(once) == once


def test_a_secret_behind_escapes_of_json_is_found() -> None:
    inner = json.dumps({"token": TOKEN, "note": "line\nq@acme.io"})
    escaped = json.dumps({"command": f"cat <<E\n{inner}\nE", "file": "C:\\Users\\quent\\x.py"}).replace(
        "ghp_", "\\u0067hp_"
    )
    found = REDACTOR.redact(escaped)
    assert dict(found.counts) == {"github-personal-token": 1, "e-mail": 1, "home-path": 1}
    decoded = json.loads(found.text)
    assert decoded["file"] == "C:\\Users\\<USER_1>\\x.py"
    assert json.loads(decoded["command"].split("\n")[1]) == {"token": "<GITHUB_TOKEN_1>", "note": "line\n<EMAIL_1>"}


def test_json_keeps_its_bytes_but_for_what_is_redacted() -> None:
    text = '{ "a" : 1.50,\t"b":[1e5, "\\u00e9", "q@acme.io"],  "c": "\\/" }'
    assert REDACTOR.redact(text).text == '{ "a" : 1.50,\t"b":[1e5, "\\u00e9", "<EMAIL_1>"],  "c": "\\/" }'


def test_values_of_json_whose_key_is_the_name_of_a_secret_are_found() -> None:
    text = json.dumps(
        {
            "password": '"\\'.join((PASSWORD[:9], PASSWORD[9:])),
            "token_type": "bearer2x9k1",
            "user": {"clientSecret": PASSWORD},
        }
    )
    found = json.loads(REDACTOR.redact(text).text)
    assert found == {"password": "<SECRET_1>", "token_type": "bearer2x9k1", "user": {"clientSecret": "<SECRET_2>"}}


def test_rules_that_look_at_a_name_see_the_keys_of_json() -> None:
    text = filled(
        json.dumps({"DD_API_KEY": "{H*32}", "private_key_id": "{H*40}", "auths": {"x": {"auth": "{B*30}7{B*9}=="}}})
    )
    found = REDACTOR.redact(text)
    assert json.loads(found.text) == {
        "DD_API_KEY": "<DATADOG_KEY_1>",
        "private_key_id": "<GOOGLE_KEY_ID_1>",
        "auths": {"x": {"auth": "<DOCKER_TOKEN_1>"}},
    }


@settings(max_examples=60, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12),
       st.booleans())  # fmt: skip
def test_json_stays_json(value: object, ascii_only: bool) -> None:
    text = json.dumps({"value": value, "mail": "q@acme.io"}, ensure_ascii=ascii_only)
    found = json.loads(REDACTOR.redact(text).text)
    assert found["mail"] == "<EMAIL_1>"
    clean = Redactor(KEY, RedactionOptions(secrets=False, personal=False)).redact(text)
    assert clean.text == text


def test_a_secret_behind_escapes_in_lines_of_json_and_in_prose_is_found() -> None:
    """Such a text is no JSON as a whole: quotation marks and slashes had a backslash before them, which no rule expects."""
    url = filled("https://hooks.slack.com/services/T{U*9}/B{U*9}/{A*24}")
    login = f'docker login -u me -p "{PASSWORD}" registry.acme.io'
    line = json.dumps({"hook": url, "run": login, "é": "\u00e9"}).replace("/", "\\/")
    for text in (f"{line}\n{line}\n", f"The output was {line} and so on.", f"[{json.dumps(line)} oops]"):
        found = REDACTOR.redact(text).text
        assert "<PASSWORD_1>" in found
        assert PASSWORD not in found
        assert url.rsplit("/", 1)[1] not in found
    assert json.loads(REDACTOR.redact(f"{line}\n{line}").text.split("\n")[1])["é"] == "é"
    half = '{"x": "é \\ud800 q@acme.io"}'  # half of a pair cannot be written as it is
    assert REDACTOR.redact(f"{half} {half}").text == f"{half} {half}".replace("q@acme.io", "<EMAIL_1>")


def test_what_only_looks_like_json_is_redacted_as_text() -> None:
    assert REDACTOR.redact('{"mail": "q@acme.io" oops}').text == '{"mail": "<EMAIL_1>" oops}'


@pytest.mark.parametrize("cut", range(0, 60, 3))
def test_a_secret_across_a_cut_is_found_and_the_parts_join(cut: int) -> None:
    text = f"first line\n{TOKEN}\nlast"
    for second in range(cut, len(text), 5):
        parts = [text[:cut], text[cut:second], text[second:]]
        made = REDACTOR.redact_parts(parts, Numbering())
        assert "".join(made) == "first line\n<GITHUB_TOKEN_1>\nlast"
        assert all(part.count("<") == part.count(">") for part in made)


@pytest.mark.parametrize(
    "text",
    [
        f"\x1b[31m{OTHER}\x1b[0m",
        TOKEN.replace("ghp_", "\\u0067hp_"),
        r'BODY = "{\"password\": \"' + PASSWORD + r'\"}"',
        json.dumps({"a": [1], "password": PASSWORD, "b": TOKEN.replace("g", "\\u0067")}, indent=1),
        "".join(
            f"{at:08x}: {TOKEN.encode()[at : at + 16].hex(' ', 2):<41}{TOKEN[at : at + 16]}\n"
            for at in range(0, 40, 16)
        ),
    ],
)
def test_what_is_found_in_a_text_is_found_in_the_parts_of_a_gap(text: str) -> None:
    """Gaps of code had secrets behind escapes, colours and hex dumps that were found in the text of the same file."""
    whole = REDACTOR.redact_text(text)
    assert "<" in whole
    for first in range(0, len(text), 4):
        for last in range(first, len(text) + 1, 5):
            made = REDACTOR.redact_parts([text[:first], text[first:last], text[last:]], Numbering())
            assert "".join(made) == whole


def test_parts_without_finds_stay_as_they_are() -> None:
    assert REDACTOR.redact_parts(["a", "", "b\n"], Numbering()) == ["a", "", "b\n"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([TOKEN, " ", "\n", "x", "q@acme.io", "é", "ghp_"]), max_size=12), st.data())
def test_parts_join_to_the_redacted_text(pieces: list[str], data: st.DataObject) -> None:
    text = "".join(pieces)
    first, last = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
    numbering = Numbering()
    made = REDACTOR.redact_parts([text[:first], text[first:last], text[last:]], numbering)
    while numbering.settle():
        made = REDACTOR.redact_parts(made, numbering)
    assert "".join(made) == REDACTOR.redact_text(text)


def test_given_names_and_the_own_user_and_machine_are_replaced() -> None:
    options = RedactionOptions(names=("Zebulon Quarles", "Ann"), user="quent", host="quents-box")
    text = "Zebulon Quarles (quent@quents-box) wrote: Ann said quentin is at ~quent/x"
    found = Redactor(KEY, options).redact(text)
    assert found.text == "<NAME_1> (<USER_1>@<HOST_1>) wrote: Ann said quentin is at ~<USER_1>/x"


def test_a_home_folder_and_the_user_have_the_same_placeholder() -> None:
    redactor = Redactor(KEY, RedactionOptions(user="quent"))
    text = "/home/quent/app and -home-quent-app and quent, /Users/other/x"
    assert redactor.redact(text).text == "/home/<USER_1>/app and -home-<USER_1>-app and <USER_1>, /Users/<USER_2>/x"


def test_common_login_names_are_not_replaced_as_words() -> None:
    text = "the user root runs admin"
    assert Redactor(KEY, RedactionOptions(user="root", host="localhost")).redact(text).text == text


def test_names_of_one_text_alone_are_replaced() -> None:
    assert REDACTOR.redact("by Zebulon Quarles", names=["Zebulon Quarles"]).text == "by <NAME_1>"
    assert REDACTOR.redact("by Zebulon Quarles").text == "by Zebulon Quarles"


def test_the_author_of_a_commit_is_replaced_and_the_notice_of_a_licence_stays() -> None:
    text = "Author: Zebulon Quarles <zeb@acme.io>\nCopyright (c) 2020 Zebulon Quarles <zeb@acme.io>\n"
    assert (
        REDACTOR.redact(text).text == "Author: <NAME_1> <<EMAIL_1>>\nCopyright (c) 2020 Zebulon Quarles <<EMAIL_1>>\n"
    )


def test_a_notice_of_copyright_keeps_the_authors_of_the_repository_but_not_a_name_that_was_asked_for() -> None:
    text = "Copyright (c) 2020, Zebulon Quarles\nThanks to Zebulon Quarles for the tests.\n"
    made = "Copyright (c) 2020, Zebulon Quarles\nThanks to <NAME_1> for the tests.\n"
    assert REDACTOR.redact(text, names=("Zebulon Quarles",)).text == made
    several = "/* Copyright (c) 2020, Ana Onyx,\n *        Zebulon Quarles\n */\n"
    assert REDACTOR.redact(several, names=("Zebulon Quarles",)).text == several
    asked = Redactor(KEY, RedactionOptions(names=("Zebulon Quarles",)))
    assert "Zebulon" not in asked.redact(text, names=("Zebulon Quarles",)).text


def test_links_that_were_equal_stay_equal() -> None:
    links = [
        "path:app//home/quent/x.py",
        "path:app//home/other/x.py",
        "commit:3f786850e387550fdab836ed7e6dc881de23001b",
    ]
    made = [REDACTOR.link(link) for link in links]
    assert made == [REDACTOR.link(link) for link in links]
    assert len(set(made)) == 3
    assert "quent" not in made[0]
    assert made[2] == links[2]


def test_the_fingerprint_changes_with_the_options_and_not_with_the_key() -> None:
    assert REDACTOR.fingerprint() == Redactor(bytes(32)).fingerprint()
    assert REDACTOR.fingerprint() != Redactor(KEY, RedactionOptions(names=("A B",))).fingerprint()


def test_text_that_is_no_unicode_is_redacted() -> None:
    assert REDACTOR.redact(f"\udcff {TOKEN} \x00 \ud800").text == "\udcff <GITHUB_TOKEN_1> \x00 \ud800"


def test_many_names_beside_many_addresses_take_time_in_proportion() -> None:
    """A list of contributors: each name was compared with every address that was found before."""
    names = tuple(f"Marta Vogel{chr(97 + number)}ang" for number in range(20))
    lines = [f"{names[number % 20]} mail{number}@vogelsang{number}.org\n" for number in range(6000)]
    redactor = Redactor(bytes(range(32)))
    began = time.process_time()
    text = redactor.redact_text("".join(lines), names)
    assert time.process_time() - began < patience.limit(1)  # 0.3 s here; 7 s before
    assert "Vogel" not in text
    assert text.count("<EMAIL_") == text.count("<NAME_") == 6000


def test_me_at_a_domain_of_ones_own_is_an_address_and_at_an_example_it_is_none() -> None:
    assert REDACTOR.redact("Author: <me@quent.uy>, see me@example.com and git@github.com").text == (
        "Author: <<EMAIL_1>>, see me@example.com and git@github.com"
    )


@pytest.mark.parametrize(
    "text",
    [
        "It is a novel written by Zebulon Quarles and published in 1960.",
        "The hero was created by Zebulon Quarles.",
        '{"books": [{"title": "The Ridge", "author": "Zebulon Quarles", "genre": "mystery"}]}',
    ],
)
def test_authors_of_books_stay(text: str) -> None:
    assert REDACTOR.redact(text).text == text


@pytest.mark.parametrize(
    "text",
    [
        "# Written by Zebulon Quarles, 2019",
        " * Created by Zebulon Quarles on 3/4/15.",
        "Contributed by Zebulon Quarles",
        '{"name": "shop", "author": "Zebulon Quarles", "license": "MIT"}',
        "---\ntitle: My week\nauthor: Zebulon Quarles\n---\n",
    ],
)
def test_authors_of_files_are_replaced(text: str) -> None:
    assert REDACTOR.redact(text).text == text.replace("Zebulon Quarles", "<NAME_1>")
