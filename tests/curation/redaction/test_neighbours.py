"""Secrets whose name stands in another field or element: after the value, or in the argument before it."""

from __future__ import annotations

import json

import pytest

import patience
from planted_secrets import filled
from seedbed.curation.redaction.redactor import Redactor

REDACTOR = Redactor(bytes(range(32)))
SECRET = filled("{A*10}7{A*9}")
PASSWORD = filled("P4{A*6}")

FIELDS = [
    '{{"Value": "{}", "Name": "DB_PASSWORD"}}',
    '[{{"value": "80", "name": "PORT"}}, {{"value": "{}", "type": "x", "n": 1, "key": "api_key"}}]',
    '{{"a": [{{"Value": "{}",\n  "Key": "client_secret"\n}}]}}',
    "env = [{{'value': '{}', 'name': 'API_TOKEN'}}]",
    "  env: [ {{ value: '{}', name: 'API_TOKEN' }} ],",
    "- value: {}\n  name: API_TOKEN\n- value: 80\n  name: PORT\n",
    '<add value="{}" key="ApiSecret" />',
    'tf.Variable(value="{}", name="db_password")',
    '["--token", "{}"]',
    '{{"args": ["serve", "--port", "80", "--api-key", "{}", "--debug"]}}',
    'run(["tool", "--cohere-api-key", "{}"])',
    "subprocess.run(['tool', '--access-key',\n    '{}'])",
    "args:\n  - --token\n  - {}\n  - --verbose\n",
    'args:\n  - "--token"\n  - "{}"\n',
    'CMD ["serve", "--secret-key", "{}"]',
    '["docker", "run", "-e", "API_KEY={}", "x"]',
]


@pytest.mark.parametrize("template", FIELDS)
def test_a_secret_beside_its_name_is_replaced_and_the_rest_stays(template: str) -> None:
    found = REDACTOR.redact(template.format(SECRET))
    assert found.text == template.format("<SECRET_1>")
    assert sum(found.counts.values()) == 1
    escaped = json.loads(REDACTOR.redact_text(json.dumps({"input": template.format(SECRET)})))
    assert escaped == {"input": template.format("<SECRET_1>")}
    cut = json.dumps("x\n" + template.format(SECRET) + "\n")
    assert SECRET not in REDACTOR.redact_text("cut off: " + cut)


@pytest.mark.parametrize(
    "text",
    [
        '["mysql", "-u", "root", "--password", "{}"]',
        'run(["mysql", "-u", "root", "--password", "{}"])',
        "- --password\n- {}\n",
    ],
)
def test_a_short_password_in_a_list_of_arguments_is_replaced(text: str) -> None:
    assert PASSWORD not in REDACTOR.redact_text(text.format(PASSWORD))


@pytest.mark.parametrize(
    "text",
    [
        '{"value": "access_token_v2", "name": "token"}',
        '{"value": "changeme", "name": "DB_PASSWORD"}',
        '{"value": "' + SECRET + '", "name": "PORT"}',
        '{"value": "' + SECRET + '"}, {"name": "DB_PASSWORD"}',
        "{'value': x.y2, 'name': 'DB_PASSWORD'}",
        '["--token", "--verbose2"]',
        '["--token", "$TOKEN_2"]',
        'parser.add_argument("--token", "-t", help="the token of 2 APIs")',
        'parser.add_argument("--password", "--pass", dest="password2")',
        '{"a": ["--token"], "b2c4d6e8f0a1b2": 1}',
        '{"a": "--token", "x7c4d6e8f0a1b2": "' + SECRET[:8] + '"}',
        "<option value='a1' key='token'>",
    ],
)
def test_what_only_looks_so_stays(text: str) -> None:
    assert REDACTOR.redact_text(text) == text


@pytest.mark.parametrize(
    "part", ['{"value": "aaaaaaaa", ', '"value": "aaaaaaaa", ' * 6, ' value="aaaaaa" name=', '"--token", ', " value:"]
)
def test_many_fields_take_time_in_proportion(part: str) -> None:
    patience.assert_linear_time(lambda size: REDACTOR.redact_text("[" + part * (size // len(part)) + "]"), 100_000)
