"""Checks what a rule for secrets found: randomness, placeholders, and what stands around it."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from urllib.parse import unquote

from seedbed.curation.redaction.rules import LINE_PREFIX

Check = Callable[[re.Match[str], str], bool]
"""Whether a find counts, from the match and the text of the secret."""

_PLACEHOLDER = re.compile(
    r"""(?ix) (?<![a-z0-9]) (?: example | change[_-]?(?:me|it|this) | placeholder
    | dummy | fake | sample | redacted | insert | replace
    | todo | fixme | tbd | test | foo | bar | qwerty | deadbeef | swordfish )
    (?![a-z]{2}|[A-Z0-9a-z]{5})
    | (?<![a-z0-9]) (?:your|my|some|the)[_\- ][a-z] | changeme | x{4} | \*{3} | \.{3} | … | 0{6} | 12345 | ^1234 | abcdef | ^abcd
    | ^(?:none|null|nil|undefined|true|false|secret|password|passwd|pass|token|string|changed|hidden)\d{0,3}$
    | ^(?:required|optional|default)$ | <[^<>]*> | \[[A-Za-z_ ]+\] | \$[({] | ^\$[A-Za-z_] | \{\{? | %[(s] | %\w+%
    | ^env[.:] | ^(?:os|self|this|process|config|settings|args|options|request|secrets|vars|var|data|local|module)\.
    | ^[@$&/~] | ^\.{1,2}/ | ^arn:aws | ^https?:"""
)
_BLOCK_CHARACTERS = 8000
"""How far the marker of a block of base64 is searched."""
REPEATED = re.compile(r"(.)\1{5}|^(.{1,3})\2{3,}$")
"""One to three characters again and again."""
_PASSWORD_KEYS = ("passw", "_pass", "passphrase", "pwd", "contrasena")
_NOT_A_SECRET = re.compile(
    r"""(?ix) (?:^|[_.\-]|(?<=[a-z])(?=[A-Z])) (?: types? | urls? | uris? | endpoints? | files? | filename | paths? | dirs?
    | names? | ids? | fields? | labels? | length | len | counts? | size | limits? | index | idx | pos | offset | kind
    | class | errors? | exists | valid | regex | re | pattern | prompt | input | hint | placeholder | expir\w*
    | ttl | dates? | time\w* | polic\w+
    | reset | iterations | version | format | encoding | manager | provider | store | service | handler | view | form | page
    | status | state | scopes? | issuer | algorithm | alg | mode | env | arn | ref | header | prefix | suffix | hash\w* | chars
    | set | list | map | num | max | min | start | end | stream | usage | budget | per_\w+ ) (?: \d* $ | (?=[_.\-]) | $ )"""
)
_TYPE = re.compile(r"(?i)(?:u?int|bytes|str|string|varchar|char|float|uuid|f|i|u)\d*")
_LINE_START = re.compile(r"[ \t*+>-]{0,40}(?:export |set |ENV )?[\w.-]{0,40}")
_WORD = re.compile(r"[A-Za-z]+\d{0,3}|\d{1,4}|v\d+")
_CAMEL = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_SEPARATORS = re.compile(r"[_\-./:+@ ]+")


def entropy(text: str) -> float:
    """Shannon entropy of the characters of a text, in bits per character."""
    total = len(text)
    return -sum(count / total * math.log2(count / total) for count in Counter(text).values()) if text else 0.0


def is_placeholder(value: str) -> bool:
    """Whether a value stands for a secret but is none: `changeme`, `xxxx`, `${TOKEN}`, `<your key>`, `self.token`."""
    return bool(_PLACEHOLDER.search(value) or REPEATED.search(value))


def is_wordlike(value: str) -> bool:
    """Whether a value consists of words and short numbers: `access_token_v2`, `sha256`, `utf-8`, `self.field2`."""
    parts = [part for part in _SEPARATORS.split(value) if part]
    if not all(_WORD.fullmatch(part) for part in parts):
        return False
    pieces = [len(piece) for part in parts for piece in _CAMEL.findall(part)]
    return sum(pieces) >= 2.7 * len(pieces)


def _kinds(value: str) -> tuple[bool, bool, bool, bool]:
    """Whether it has lower case letters, upper case letters, digits, and other characters."""
    return (
        any(char.islower() for char in value),
        any(char.isupper() for char in value),
        any(char.isdigit() for char in value),
        any(not char.isalnum() for char in value),
    )


def is_random(value: str, least: float = 3.0) -> bool:
    """Whether a value looks as if it were drawn at random: letters and digits mixed (a long one needs no digits), no words."""
    lower, upper, digit, _ = _kinds(value)
    if is_wordlike(value) or not ((lower or upper) and (digit or (lower and upper and len(value) >= 24))):
        return False
    return entropy(value) >= least


def _random(match: re.Match[str], value: str) -> bool:
    return not is_placeholder(value) and is_random(value, 2.8)


def _no_example(match: re.Match[str], value: str) -> bool:
    return "EXAMPLE" not in value.upper() and not REPEATED.search(value)


def _has_digit(match: re.Match[str], value: str) -> bool:
    return any(char.isdigit() for char in value)


def _mixed(match: re.Match[str], value: str) -> bool:
    lower, upper, digit, _ = _kinds(re.sub(r"^[a-z]{2,8}_", "", value))
    return lower + upper + digit >= 2 and digit


def _private_key(match: re.Match[str], value: str) -> bool:
    """A key has lines of base64; a mention of the markers in code or documentation has none."""
    return bool(
        re.search(r"[A-Za-z0-9+/=]{40}", value[25:])
        or re.search(r"(?:[A-Za-z0-9+/]{16,}[\s\\nr\"',+]+){3}", value[25:])
    )


def _private_key_end(match: re.Match[str], value: str) -> bool:
    return bool(re.search(r"[A-Za-z0-9+/]{40}", value))


def _private_key_fragment(match: re.Match[str], value: str) -> bool:
    """Lines of a key whose markers are not in the text: mixed letters and digits, and in no block of another kind."""
    lower, upper, digit, _ = _kinds(value)
    line = match.string.rfind("\n", 0, match.start()) + 1
    lines = match.string[line : match.end()].split("\n")[:2]
    widths = {len(LINE_PREFIX.sub("", each, count=1).rstrip()) for each in lines}
    if len(widths) > 1 or not (lower and upper and digit) or max(map(entropy, value.split())) < 4.5:
        return False
    text, start = match.string, match.start()
    before = text[max(0, start - _BLOCK_CHARACTERS) : start]
    opened, closed = before.rfind("-----BEGIN "), before.rfind("-----END ")
    if opened > closed and "PRIVATE KEY" not in before[opened : opened + 60]:
        return False
    after = text[match.end() : match.end() + _BLOCK_CHARACTERS]
    closed, opened = after.find("-----END "), after.find("-----BEGIN ")
    other = closed >= 0 and (opened < 0 or closed < opened) and "PRIVATE KEY" not in after[closed : closed + 60]
    return not other


def _jwt(match: re.Match[str], value: str) -> bool:
    header = value.split(".")[0]
    try:
        decoded = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    except (ValueError, binascii.Error):
        return False
    return isinstance(decoded, dict) and ("alg" in decoded or "typ" in decoded or "kid" in decoded)


def _discord(match: re.Match[str], value: str) -> bool:
    """The first part is a number in base64, so it begins with M, N or O."""
    return value[0] in "MNO" and _mixed(match, value)


def _password(match: re.Match[str], value: str) -> bool:
    return not is_placeholder(value) and value.lower() not in (
        "password",
        "passwd",
        "pass",
        "secret",
        "pwd",
        "pw",
        "user",
    )


def _netrc(match: re.Match[str], value: str) -> bool:
    return not is_placeholder(value) and (not is_wordlike(value.strip("#\"'\\")) or _is_strong(value))


def _assignment(match: re.Match[str], value: str) -> bool:
    """A value with the name of a secret, such as `api_key = "..."`; see the tests for what is no secret."""
    key, rest = match["key"].lower(), match["rest"]
    if not _names_secret(key, rest) or is_placeholder(value) or _is_in_resource_name(match):
        return False
    password = key.startswith(_PASSWORD_KEYS)
    if password and is_words_of_password(value) and (_is_variable(match, value) or _opens_connection(match)):
        return True
    if match["prose"] or match["s1"] is None:
        return _unquoted(match, value.rstrip(".:!?&|") if match["prose"] else value, password)
    if any(char.isspace() for char in value) or (
        match["op"] in (",", "(") and not (is_random(value) and re.fullmatch(r"[\w+/=.-]+", value))
    ):
        return False
    if match["prefix"].lower().startswith("f") and "{" in value:
        return False
    return _is_secret_value(value, password)


def _is_in_resource_name(match: re.Match[str]) -> bool:
    """Whether a name is a part of the name of a resource, such as `arn:aws:secretsmanager:us-west-2:1234:secret:App-a1b2c3`."""
    return re.search(r"arn:aws[\w:*-]*\Z", match.string[max(0, match.start() - 100) : match.start()]) is not None


def _names_secret(key: str, rest: str) -> bool:
    """Whether a name, `key` in lower case and what follows it, is that of a secret: not `tokenizer` or `PASSWORD_FILE`."""
    return not (rest[:1].islower() and key != "_pass") and not _NOT_A_SECRET.search(rest)


_TAG = re.compile(r"<[\w.:\-]{0,40}\Z|<[\w.:\-]{1,40}(?:\s[^<>\n]{0,100})?(?:>\s{0,4}[\w.\-]{0,40})?\Z")


def _beside(match: re.Match[str], value: str) -> bool:
    """A value in another field than its name, such as `"name": "API_KEY", "value": "..."`, or in a tag or table."""
    key = match["key"].lower()
    if not _names_secret(key, match["rest"]) or is_placeholder(value) or any(char.isspace() for char in value):
        return False
    if match["s4"] is not None and not _TAG.search(match.string, max(0, match.start() - 200), match.start()):
        return False
    password = key.startswith(_PASSWORD_KEYS)
    if match["s5"] is not None or match["s6"] is not None:  # a table or prose, which may explain the name
        return is_random(value) and (len(value) >= 10 or password) and not re.search(r"[(),\[\]]|->|::", value)
    return _is_secret_value(value, password)


def _typed(match: re.Match[str], value: str) -> bool:
    """A password in a command: no placeholder, and no words alone, as in documentation."""
    value = value.strip("#\"'\\")
    return _password(match, value) and (_has_digit(match, value) or not is_wordlike(value))


def _typed_words(match: re.Match[str], value: str) -> bool:
    """A password in a command in which nothing else can stand there, so that it may consist of words alone."""
    return _typed(match, value) or is_words_of_password(value)


def _wireless(match: re.Match[str], value: str) -> bool:
    """The key of a wireless network; in quotation marks it is literal."""
    return _netrc(match, value) or (match[0][4:5] in "\"'" and _typed(match, value) and _has_digit(match, value))


def _encoded(match: re.Match[str], value: str) -> bool:
    return _password(match, unquote(value))


def _flag(match: re.Match[str], value: str) -> bool:
    """The value of an option of a command; a password may be of words and digits."""
    password = re.match(r"-pass(?:wor|w)?(?:d|phrase)", match[0])
    return _random(match, value) or (password is not None and _typed(match, value) and _has_digit(match, value))


def _is_line(match: re.Match[str]) -> bool:
    """Whether a name and its value are a line of their own, as in YAML, environment files and lists."""
    text, end = match.string, match.end()
    begin = text.rfind("\n", max(0, match.start() - 60), match.start()) + 1
    before = text[begin : match.start()] if begin else text[max(0, match.start() - 60) : match.start()]
    return bool(_LINE_START.fullmatch(before)) and text[end : end + 1] in ("", "\n", "\r")


_NAMED_ALGORITHM = re.compile(
    r"(?i)(?:base|sha|md|utf|pbkdf|scrypt|bcrypt|aes|rsa|ascii|latin|iso|rfc|argon|x|h|v)-?\d"
)
_CONNECTION = re.compile(
    r"(?i)(?:\A|[^\w])(?:server|data source|addr|address|host|database|initial catalog|user id|uid|user|username)=[^;\n]{1,100};"
)
_SETTING = re.compile(
    r"""(?x) (?:\A|[\s"'`=(]) --?(?:[A-Za-z][\w-]{0,40})? \Z            # --password=...
    | --from-(?:literal|env)[= ] ["']? [\w.-]{0,40} \Z             # of kubectl
    | \s-o\s{0,3} [\w=.,/-]{1,120} , [\w.-]{0,20} \Z               # options of mount
    | [\w.:/%=-] [?&] [\w.\-]{0,20} \Z                           # a query of a URL
    """
)


_VARIABLE = re.compile(r"""(?<![^\s"'`])[A-Z][A-Z0-9_]{0,58}\Z""")
"""A variable of the environment, as before a command."""


_WORDS = re.compile(r"[A-Za-z]{6,64}|(?=[A-Za-z_-]{8,64}\Z)[A-Za-z]+(?:[_-][A-Za-z]+){1,7}")
_DEFAULT_WORDS = re.compile(
    r"""(?ix) pass|pwd|secret|token|your|change|example|placeholder|default|dummy|sample|fake|credential|qwerty|hunter2
    | ^(?:test|foo|bar|baz|env|my[_-]|get|read|load|some|any|the[_-]|no[_-]|not[_-]|with|from|use|set|see)
    | ^(?:postgres|postgresql|mariadb|mysql|redis|mongo|mongodb|rabbitmq|guest|admin|administrator|root|user|username
      |minio|minioadmin|grafana|elastic|keycloak|letmein|welcome|demo|prompt|value|string|text|input|boolean|bool|object
      |required|optional|mandatory|missing|empty|unset|undefined|random|generated|generate|auto|masked|redacted|hidden
      |encrypted|hashed|plaintext|base64|inherit|public|private|false|null|none|disabled|enabled|forbidden|unknown
      |invalid|incorrect|wrong|correct|field|hash|super|self|this)$"""
)


def is_words_of_password(value: str) -> bool:
    """Whether words alone may be a password, where nothing but a password can stand: no default, no word for one."""
    return _WORDS.fullmatch(value) is not None and not (_DEFAULT_WORDS.search(value) or is_placeholder(value))


def _is_variable(match: re.Match[str], value: str) -> bool:
    """Whether a variable of the environment is set, such as `DB_PASSWORD=correcthorse`; not to a part of its name."""
    text, op = match.string, match.start("op")
    if match["op"] not in ("=", ":") or text[match.end() : match.end() + 1].strip() not in ("", '"', "'", "\\"):
        return False
    name = _VARIABLE.search(text, max(0, match.start() - 60), op)
    if name is None or (match["op"] == "=" and text[op + 1 : op + 2].isspace()):
        return False
    if match["op"] == ":" and ("_" not in name[0] or match["s1"] is not None or not _is_line(match)):
        return False
    return value.lower() not in name[0].lower()


def _is_strong(value: str) -> bool:
    """Whether words and numbers look chosen as a password: `Winter@2023`, `UIWEdqtw_9993`; not `Base64` or `user_name2`."""
    lower, upper, digit, _ = _kinds(value)
    mixed = (lower and upper) or any(char in "@!#$%^&*" for char in value)
    return len(value) >= 8 and digit and mixed and not _NAMED_ALGORITHM.match(value)


def _strong(match: re.Match[str], value: str) -> bool:
    """A password beside a name that may mean something else, such as `pass`: mixed, and no code, path or version."""
    return not is_placeholder(value) and _is_chosen(value)


def _told(match: re.Match[str], value: str) -> bool:
    """A password in a sentence, where punctuation may follow it."""
    return _strong(match, value.rstrip(".,;:!?)*_"))


def _random_or_strong(match: re.Match[str], value: str) -> bool:
    return _random(match, value) or _strong(match, value)


_CODE = re.compile(r"[(){}\[\],;\\]|::|->|=>|==|://|/|\.[a-z]{2,4}\Z|^--?[a-z]|^[\d.,:%+/-]+$|^v?\d+\.\d")


def _is_chosen(value: str) -> bool:
    """Whether a value of at least 8 characters mixes letters, digits, and capitals or signs as only a password does."""
    lower, upper, digit, _ = _kinds(value)
    signs = any(char in "!@#%^&*+~?" for char in value)
    mixed = digit and (lower or upper) and ((lower and upper) or signs)
    words = [len(word) for word in _CAMEL.findall(value)]
    if not signs and sum(words) >= 3.5 * len(words):
        return False  # a name such as OAuth2Provider
    return (
        len(value) >= 8 and mixed and not is_wordlike(value) and _CODE.search(value) is None and entropy(value) >= 2.8
    )


def _is_setting(match: re.Match[str]) -> bool:
    """Whether `name=value` is in a command, the query of a URL or a string that opens a connection, where values are literal."""
    text, start, op = match.string, match.start(), match.start("op")
    if match["op"] != "=" or text[op - 1].isspace() or text[op + 1 : op + 2].isspace():
        return False
    if _VARIABLE.search(text, max(0, start - 60), op):
        return True
    return _SETTING.search(text[max(0, start - 200) : start]) is not None or _opens_connection(match)


def _opens_connection(match: re.Match[str]) -> bool:
    """Whether `name=value` is in a string that opens a connection, such as `Server=db;User Id=sa;Password=...;`."""
    before = match.string[max(0, match.start() - 200) : match.start()]
    return (
        match["op"] == "="
        and re.search(r";\s?[\w ]{0,20}\Z", before) is not None
        and _CONNECTION.search(before) is not None
    )


def _unquoted(match: re.Match[str], value: str, password: bool) -> bool:
    """A value without quotation marks: in an environment file, YAML or prose; or a name or call in code, which is none."""
    following = match.string[match.end() : match.end() + 1]
    if match["op"] in (",", "(") or following in ("(", "[", "{", "<") or len(value) < (6 if password else 8):
        return False
    if password and _is_line(match) and not _TYPE.fullmatch(value):
        lower, upper, digit, other = _kinds(value)
        return digit and (lower or upper or other)
    if password and (_is_setting(match) if match["prose"] is None else _is_strong(value)):
        lower, upper, digit, _ = _kinds(value)
        return (lower or upper) and digit and not _TYPE.fullmatch(value)
    if is_wordlike(value) or re.match(r"[A-Za-z_][\w]*(?:(?:\.|::|->)[A-Za-z_]\w*)+$", value):
        return False
    _, _, digit, other = _kinds(value)
    if re.fullmatch(r"0[xX][0-9A-Fa-f_]{1,16}[uUlL]{0,3}", value):
        return False  # a number
    if re.search(r"[=|]{2}|:=|->|[*/+]=", value.rstrip("=")):
        return False
    return is_random(value, 2.5 if password and other and digit else 3.0)


_SECRET_KEY = re.compile(
    r"(?i)(?P<key>passw(?:or)?d|passwort|passphrase|_pass(?![a-z])|pwd|secret|token|credential|"
    r"(?:api|access|private|auth|service|account|encryption|signing|master|shared)[_\- ]?key)(?P<rest>[\w.\- ]*)$"
)


def is_assigned_secret(key: str, value: str) -> bool:
    """Whether the value of a key, both decoded, is a secret, such as that of `password` in JSON."""
    match = _SECRET_KEY.search(key) if len(value) <= 4000 else None
    if match is None or any(char.isspace() for char in value):
        return False
    name, rest = match["key"].lower(), match["rest"]
    if not _names_secret(name, rest) or is_placeholder(value):
        return False
    return _is_secret_value(value, name.startswith(_PASSWORD_KEYS))


def _named(match: re.Match[str], value: str) -> bool:
    """A value before the field with its name, such as `"value": "...", "name": "API_KEY"`."""
    return is_assigned_secret(match["n1"] or match["n2"] or match["n3"], value)


def _listed(match: re.Match[str], value: str) -> bool:
    """The argument after an option in a list of arguments, such as `["--password", "..."]`."""
    return is_assigned_secret(match["key"].replace("-", "_"), value)


def _compared(match: re.Match[str], value: str) -> bool:
    return not is_placeholder(value) and not any(char.isspace() for char in value) and _is_secret_value(value, False)


def _is_secret_value(value: str, password: bool) -> bool:
    lower, upper, digit, other = _kinds(value)
    if password and len(value) >= 6:
        mixed = digit + other + (lower or upper) >= 2 and (digit or not is_wordlike(value))
        return mixed or is_random(value) or _has_mixed_case(value)
    return (len(value) >= 10 and is_random(value)) or _has_mixed_case(value)


def _has_mixed_case(value: str) -> bool:
    """Whether a long value has letters alone, about as many in upper as in lower case; words in camel case have fewer."""
    upper = sum(char.isupper() for char in value)
    return len(value) >= 24 and value.isalpha() and 0.35 < upper / len(value) < 0.65 and entropy(value) > 3.8


def _cut(match: re.Match[str], value: str) -> bool:
    """Beside the mark of a shortened output: half of a word that is no word, such as half of a token."""
    return not is_wordlike(value) and any(char.isdigit() for char in value)


_LEAST_COOKIE = 16
"""Characters of the value of a cookie that may be a session."""


def _cookie(match: re.Match[str], value: str) -> bool:
    """Whether one of the values of a cookie looks like a session: long and random."""
    parts = (part for part in value.split(";") if len(part) > _LEAST_COOKIE)
    values = (re.split(r"[\s\\,]", part.partition("=")[2].lstrip(), maxsplit=1)[0] for part in parts)
    return any(
        len(each) >= _LEAST_COOKIE
        and re.fullmatch(r"[\w%.~+/=-]+", each)
        and _has_digit(match, each)
        and is_random(each)
        and not is_placeholder(each)
        for each in values
    )


CHECKS: dict[str, Check] = {
    "random": _random,
    "no_example": _no_example,
    "has_digit": _has_digit,
    "mixed": _mixed,
    "private_key": _private_key,
    "private_key_end": _private_key_end,
    "private_key_fragment": _private_key_fragment,
    "jwt": _jwt,
    "discord": _discord,
    "password": _password,
    "netrc": _netrc,
    "assignment": _assignment,
    "beside": _beside,
    "typed": _typed,
    "typed_words": _typed_words,
    "encoded": _encoded,
    "wireless": _wireless,
    "flag": _flag,
    "strong": _strong,
    "told": _told,
    "random_or_strong": _random_or_strong,
    "compared": _compared,
    "named": _named,
    "listed": _listed,
    "cookie": _cookie,
    "cut": _cut,
}
"""The checks by the names that rules.toml uses."""
