"""Passwords and keys under names and in sentences that people use, and values under the same names that are none."""

from __future__ import annotations

import pytest

from planted_secrets import filled
from seedbed.curation.redaction.redactor import Redactor

REDACTOR = Redactor(bytes(range(32)))
PASSWORDS = [filled("{A*7}7{A*6}Qw"), filled("{L*5}!7{L*6}"), filled("{A*5}.K7{A*6}q")]
KEYS = [filled("{H*31}7"), filled("{A*20}7kQ{A*17}")]

PASSWORD_PLACES = [
    "auth: {{ user: 'me', pass: '{}' }}",
    '"pass": "{}",',
    "  pass: {}",
    "pw = '{}'",
    "SMTP_PW={}",
    "PASS={}",
    "bindpw: {}",
    "Use password `{}` for the staging box.",
    "**Password:** {}",
    "My password's {}",
    "user bob, password {}",
    "login: bob / {}",
    "Das Passwort ist {}.",
    "contraseña: {}",
    "mot de passe : {}",
    "пароль: {}",
    "密码: {}",
    "login('bob', '{}')",
    'user.setPassword("{}");',
    '#define WIFI_PASS "{}"',
    '<Password value="{}"/>',
    'os.environ.setdefault("SECRET_KEY", "{}")',
    "requirepass {}",
    "ConvertTo-SecureString '{}' -AsPlainText -Force",
    "xfreerdp /u:me /p:{} /v:host",
    "smtp://me%40acme.io:{}@smtp.acme.io:587",
]
KEY_PLACES = [
    "SEARCH_ADMIN_KEY={}",
    "  MAIL_KEY: {}",
    "APP_KEY=base64:{}",
    "const sessionKey = '{}'",
    'appKey: "{}"',
    "'Ocp-Apim-Subscription-Key': '{}'",
    'pub const TOKEN: &str = "{}";',
    'private static final String KEY = "{}";',
    'jwt.encode(claims, "{}", algorithm="HS256")',
    "git clone https://{}@github.com/acme/app.git",
    "https://{}:x-oauth-basic@github.com/acme/app.git",
    "https://api.acme.io/v1/items?limit=3&key={}",
    "ENV SERVICE_TOKEN {}",
]


@pytest.mark.parametrize("place", PASSWORD_PLACES)
@pytest.mark.parametrize("password", PASSWORDS, ids=range(len(PASSWORDS)))
def test_a_password_is_found_where_people_write_it(place: str, password: str) -> None:
    found = REDACTOR.redact_text(f"first\n{place.format(password)}\nlast")
    assert password not in found
    assert found.startswith(f"first\n{place[: place.index('{}')].format()}<")


@pytest.mark.parametrize("place", KEY_PLACES)
@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_a_key_is_found_where_people_write_it(place: str, key: str) -> None:
    assert key not in REDACTOR.redact_text(f"first\n{place.format(key)}\nlast")


@pytest.mark.parametrize(
    "text",
    [
        "pass: 12 of 30 tests",
        '{"pass": "2026-12-01", "fail": "v2.3.1"}',
        "pass = compute_pass2(Model7)",
        "pw = getPw2(User1)",
        "password `SHA256-hashed` and salted",
        "Forgot your password? See docs/Login2Page.md for more.",
        "The password is stored in Vault2/config.yaml since v2.1.0",
        "user admin1, version 2.3.1-beta2",
        "login: GitHub / OAuth2Provider",
        "username: bob, role: Level2Admin",
        "CACHE_KEY=0123456789abcdef0123456789abcdef",
        "PUBLIC_KEY=0123a56789abcdef0b23456789abcdef",
        'SORT_KEY = "user_profile_settings_version_2"',
        "https://long-name-of-a-person-2@example.com/x",
        "https://acme.io/page?key=introduction-to-the-topic-2",
        'os.environ.setdefault("SECRET_KEY", "change_me_in_production")',
        'jwt.decode(token, "secret")',
        'login("user@site", "password1")',
        '"secretArn": "arn:aws:secretsmanager:us-west-2:123456789012:secret:App-a1b2c3"',
        'read(join(pwd, "./data/mt19937-testset-1.csv"))',
    ],
)
def test_values_that_only_stand_under_such_names_stay(text: str) -> None:
    counts = REDACTOR.redact(text).counts
    assert not [rule for rule in counts if rule != "e-mail"], counts
