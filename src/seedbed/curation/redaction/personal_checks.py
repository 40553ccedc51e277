"""Checks what a rule for personal data found: the forms of addresses, numbers and names."""

from __future__ import annotations

import ipaddress
import re

from seedbed.curation.redaction.checks import REPEATED, Check, is_placeholder
from seedbed.curation.redaction.rules import known_words

_EXAMPLE_DOMAINS = re.compile(
    r"(?i)(?:^|[.@])(?:example|invalid|test|localhost|local|localdomain|internal|domain\.(?:com|tld|org)|email\.com|acme\.com|foo\.com|bar\.com|"
    r"(?:your|my|some)-?(?:domain|company|org|site|host)\.\w+|host\.com|company\.com|server\.com|users\.noreply\.github)(?:\.[a-z]{2,3})?$"
)
_NO_PERSON = re.compile(
    r"(?i)^(?:git|hg|svn|ssh|no-?reply|do-?not-?reply|root|user|username|name|you|your|foo|bar|test|someone|somebody|xxx+|email|nobody)$"
)


_WRITER = re.compile(r"(?i)author|maintain|mail|contact|written|copyright|\(c\)|©|<\Z")


def _email_in_words(match: re.Match[str], value: str) -> bool:
    """An address such as `me at acme dot org`, with brackets or beside a word such as author."""
    tld = match["tld"] or match["domain"]
    user = re.split(r" ?[\[(]at[\])] ?| at ", value, maxsplit=1, flags=re.IGNORECASE)
    if len(user) < 2 or tld.lower() not in known_words("top_level_domains") or _NO_PERSON.match(user[0]):
        return False
    domain = re.sub(r"(?i)(?: dot | ?[\[(]dot[\])] ?)", ".", user[1])
    if _EXAMPLE_DOMAINS.search(domain):
        return False
    if "(" in value or "[" in value or re.search(r"\w\.\w|\d", user[0]):
        return True
    return bool(_WRITER.search(_line_before(match.string, match.end() - len(value))))


def _email(match: re.Match[str], value: str) -> bool:
    """An address of a person: no example, no remote of git, no address of a machine, no operator of code."""
    user, _, domain = value.replace("%40", "@").rpartition("@")
    if match["tld"].lower() not in known_words("top_level_domains") or _NO_PERSON.match(user) or user.startswith("%"):
        return False
    if _EXAMPLE_DOMAINS.search(domain) and "noreply.github" not in domain.lower():
        return False
    if match.string[match.end() : match.end() + 1] == "(" or (
        match["tld"] not in (match["tld"].lower(), match["tld"].upper())
    ):
        return False
    start = match.start() - len(user)
    return not re.search(r"://[^\s/]{0,64}$", match.string[max(0, start - 68) : start])


_IBAN_LENGTHS = {
    length: frozenset(countries.split())
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI NL FO GL",
        19: "MK SI",
        20: "AT BA EE KZ LT LU XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS",
        23: "AE GI IL TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "PT",
        26: "IS TR",
        27: "FR GR IT MC MR SM",
        28: "AL AZ CY DO GT HU LB PL",
        29: "BR PS QA UA",
        30: "JO KW MU",
        31: "MT SC",
    }.items()
}
"""Countries by the length of their account numbers. Source: the IBAN registry of SWIFT (ISO 13616)."""


def _iban(match: re.Match[str], value: str) -> bool:
    """An international bank account number of the right length, with the right check digits (ISO 7064, 97-10)."""
    number = value.replace(" ", "")
    if number[:2] not in _IBAN_LENGTHS.get(len(number), ()):
        return False
    return int("".join(str(int(char, 36)) for char in number[4:] + number[:4])) % 97 == 1


_TEST_CARDS = frozenset(
    (
        "4242424242424242",
        "4111111111111111",
        "4012888888881881",
        "4000056655665556",
        "5555555555554444",
        "5105105105105100",
        "5200828282828210",
        "378282246310005",
        "371449635398431",
        "378734493671000",
        "6011111111111117",
        "6011000990139424",
        "3530111333300000",
        "3566002020360505",
        "2223003122003222",
        "4917610000000000",
    )
)
"""Numbers that providers of payments publish for tests."""


def _card(match: re.Match[str], value: str) -> bool:
    """The number of a payment card: an issuer that exists and the right check digit (ISO/IEC 7812), none for tests."""
    digits = re.sub(r"\D", "", value)
    if not re.match(r"4|5[1-5]|2[2-7]|3[47]|6[05]|35", digits) or (len(digits) == 15) != (
        digits[0] == "3" and digits[1] in "47"
    ):
        return False
    if digits in _TEST_CARDS or REPEATED.search(digits) or "00000" in digits or "123456" in digits:
        return False
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(each - 9 if each > 9 else each for each in doubled) % 10 == 0


_COUNTRY = re.compile(
    r"1|7|2[07]|2[1-689]\d|3[0-469]|3[578]\d|4[013-9]|42\d|5[1-8]|5[09]\d|6[0-6]|6[7-9]\d|8[1246]|8[058]\d|9[0-58]|9[679]\d"
)
"""Country calling codes. Source: ITU-T E.164."""


def _phone(match: re.Match[str], value: str) -> bool:
    """A number in the international form of ITU-T E.164: a country code and 8 to 15 digits, in groups as people write them."""
    digits = re.sub(r"\D", "", value)
    country = _COUNTRY.match(digits)
    if not country or not 9 <= len(digits) <= 15 or value.count("(") != value.count(")"):
        return False
    if "234567" in digits or "987654" in digits:
        return False
    if digits[0] == "1" and (len(digits) != 11 or digits[1] in "01" or digits[4] in "01"):
        return False
    groups = re.findall(r"\d+", value)
    if len(groups) == 1:
        return 11 <= len(digits) <= 13 and not REPEATED.search(digits) and not _in_diff(match)
    if "." in value and len(groups) < 4:
        return False  # a decimal number
    if (
        max(len(group) for group in groups[1:]) < 2
        or sum(len(group) == 1 for group in groups[1:]) > 1
        or len(groups[0]) > 3
    ):
        return False
    return not _fictional(digits[-10:]) and not _in_diff(match)


def _in_diff(match: re.Match[str]) -> bool:
    """Whether the + stands at the beginning of a line, as it does for added lines of a diff."""
    start = match.start()
    return (
        start > 0
        and match.string[start - 1] == "\n"
        and bool(re.match(r"[^\n]*\n[+\-@ ]", match.string[start : start + 400]))
    )


def _fictional(digits: str) -> bool:
    """Numbers 555-0100 to 555-0199 are reserved for fiction."""
    return digits[3:8] == "55501"


def _phone_north_american(match: re.Match[str], value: str) -> bool:
    digits = re.sub(r"\D", "", value)
    if value.startswith("(") != (")" in value):
        return False
    return (
        digits[0] in "23456789"
        and digits[3] in "23456789"
        and digits[1:3] != "11"
        and not _fictional(digits)
        and not REPEATED.search(digits)
    )


def _phone_labelled(match: re.Match[str], value: str) -> bool:
    """A number in a national form after a word such as `phone:`; no date, and no number that was made up."""
    digits = re.sub(r"\D", "", value)
    if value.count("(") != value.count(")") or REPEATED.search(digits) or len(set(digits)) < 4:
        return False
    if digits[0] != "0":
        return _phone_north_american(match, value) and "555" not in (digits[:3], digits[3:6]) and "234567" not in digits
    is_date = re.fullmatch(r"\d\d([./-])\d\d\1\d{4}", value) is not None
    return 8 <= len(digits) <= 15 and not is_date and not digits.startswith(("012345", "09876"))


_VERSION = re.compile(
    r"(?i)(?:version|release|\bver\.?|\bv|build|==|~=|>=|<=|\^|[\w)]/|section|§|rfc|[a-z]-|\bpy\w*|chrome|oid)[\"'\s:=(]{0,4}$"
)
_FICTIONAL = frozenset(("12.34.56.78", "123.45.67.89", "11.22.33.44", "123.123.123.123", "172.32.1.1", "100.200.30.40"))
_MADE_UP = frozenset(
    (
        "cafe",
        "babe",
        "baba",
        "bebe",
        "beef",
        "dead",
        "deaf",
        "face",
        "feed",
        "f00d",
        "c0de",
        "abcd",
        "aaaa",
        "aaa",
        "bbb",
    )
)
"""Groups that people write in addresses of IPv6 that they make up."""
_WELL_KNOWN = frozenset(("8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "255.255.255.255"))


def _ipv4(match: re.Match[str], value: str) -> bool:
    """A public address; private and documentation ranges are none, and versions such as 1.2.3.4 neither."""
    try:
        address = ipaddress.IPv4Address(value)
    except ValueError:
        return False
    octets = [int(part) for part in value.split(".")]
    if not address.is_global or address.is_multicast or value in _WELL_KNOWN or octets[0] == 0:
        return False
    if max(octets) <= 32 or re.match(r"/\d", match.string[match.end() : match.end() + 2]):
        return False  # the number of a section, or a network
    if (
        (octets[0] < 10 and max(octets[:3]) < 20)
        or octets[2:] == [0, 0]
        or len(set(octets)) == 1
        or value in _FICTIONAL
    ):
        return False
    start = match.end() - len(value)
    return not _VERSION.search(match.string[max(0, start - 20) : start])


def _ipv6(match: re.Match[str], value: str) -> bool:
    """A public address of the range 2000::/3 that is in use; 2001:db8::/32 is for documentation."""
    try:
        address = ipaddress.IPv6Address(value)
    except ValueError:
        return False
    groups = [group for group in value.split(":") if group]
    if len(groups[0]) != 4 or (len(groups) < 3 and value.isupper() == value.islower()):
        return False  # a slice, such as a[3::4] or a[2000::5]
    if _MADE_UP.intersection(value.lower().split(":")):
        return False
    return address.is_global and value[0] in "23" and not value.lower().startswith(("2001:4860:4860", "2606:4700:4700"))


def _user(match: re.Match[str], value: str) -> bool:
    return (
        value.lower() not in known_words("impersonal_users") | known_words("example_users")
        and not is_placeholder(value)
        and any(char.isalpha() for char in value)
        and not re.search(r"\.[a-z]{2,4}$", value)
    )


def _account(match: re.Match[str], value: str) -> bool:
    """The account of a person in the output of a tool, which may cut it (`some-na+`); none of a system or a service."""
    name = re.split(r"[\\@]", value.lower())[0 if "@" in value else -1]
    system = known_words("system_accounts") | known_words("impersonal_users") | known_words("example_users")
    if name.startswith(("_", "systemd-", "com.apple.")) or not any(char.isalpha() for char in name):
        return False
    known = any(each.startswith(name[:-1]) for each in system) if name.endswith("+") else name in system
    return not known and not is_placeholder(value)


_SENTENCE = re.compile(r"\w[^\n]{0,199} $")
_BOOK = re.compile(r"(?i)[\"'](?:isbn|genre|books?|novel|publisher)(?:_?\w{0,12})[\"']\s{0,3}:")


def is_author_of_book(key: str, text: str, start: int, end: int) -> bool:
    """Whether a key is `author` or `authors`, and JSON around it has one that only data about books have, such as `isbn`."""
    return key.lower() in ("author", "authors") and _BOOK.search(text[max(0, start - 300) : end + 300]) is not None


_NOTICE = re.compile(r"(?i)copyright|\(c\)|©")
_MOST_HOLDERS = 8
"""Lines of one notice of copyright, each with a holder."""


def is_in_copyright_notice(text: str, at: int) -> bool:
    """Whether a notice of copyright stands before a place: in the same line, or in one before it that ends with a comma."""
    for _ in range(_MOST_HOLDERS):
        line = _line_before(text, at)
        if _NOTICE.search(line) is not None:
            return True
        at = text.rfind("\n", 0, at)
        if at < 0 or not text[max(0, at - 2) : at].rstrip().endswith(","):
            return False
    return False


def _line_before(text: str, at: int) -> str:
    """The line before a place, at most 200 characters of it."""
    return text[max(0, text.rfind("\n", 0, at)) : at][-200:]


def _name(match: re.Match[str], value: str) -> bool:
    """A name of a person who wrote code: not that in the notice of a licence, nor the author of a book in prose or in data."""
    if is_in_copyright_notice(match.string, match.start()):
        return False  # the notice of a licence stays
    before = _line_before(match.string, match.start())
    found = match[0].lower()
    if found.startswith(("written", "created", "contributed")) and _SENTENCE.search(before):
        return False
    key = re.match("[a-z_]*", found)
    if key is not None and is_author_of_book(key[0], match.string, match.start(), match.end()):
        return False
    words = {word.lower() for word in re.findall(r"\w+", value)}
    return words.isdisjoint(known_words("impersonal_names")) and any(char.islower() for char in value)


CHECKS: dict[str, Check] = {
    "email": _email,
    "email_in_words": _email_in_words,
    "iban": _iban,
    "card": _card,
    "phone": _phone,
    "phone_north_american": _phone_north_american,
    "phone_labelled": _phone_labelled,
    "ipv4": _ipv4,
    "ipv6": _ipv6,
    "user": _user,
    "account": _account,
    "name": _name,
}
"""The checks of personal data by the names that rules.toml uses."""
