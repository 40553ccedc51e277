"""The checker accepts every generated story and detects one wrong word."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable

import pytest

import patience
from seedbed.data.stories import world
from seedbed.data.stories.checker import check, vocabulary
from seedbed.data.stories.generator import stories
from seedbed.data.stories.sentences import sentences

WORD = re.compile(r"[A-Za-z]+")
SUBJECTS, OBJECTS, OWNERS = ("he", "she", "it", "they"), ("him", "her", "it", "them"), ("his", "her", "its", "their")
# Base forms of the world's irregular verbs, written out here independently of the source.
IRREGULAR_FORMS = """
    was:is were:are had:has took:take went:go ran:run found:find saw:see met:meet fell:fall gave:give came:come
    said:say told:tell began:begin stood:stand shone:shine knew:know thought:think brought:bring felt:feel
    forgot:forget kept:keep sat:sit held:hold heard:hear broke:break bent:bend tore:tear blew:blow wore:wear
    flew:fly rode:ride lost:lose wept:weep could:can got:get slept:sleep ate:eat drew:draw grew:grow swam:swim
    sang:sing dug:dig swept:sweep fed:feed led:lead left:leave bore:bear made:make sold:sell hid:hide crept:creep
    shook:shake wound:wind rang:ring lit:light sank:sink spun:spin threw:throw built:build wrote:write stuck:stick
    did:do hung:hang caught:catch won:win slid:slide forgave:forgive froze:freeze understood:understand spoke:speak
    chose:choose drank:drink taught:teach sewed:sew
"""
IRREGULAR = dict(pair.split(":") for pair in IRREGULAR_FORMS.split())
NOT_PAST = {
    "striped",
    "spotted",
    "checked",
    "painted",
    "crowded",
    "folded",
    "crumpled",
    "patched",
    "carved",
    "forked",
    "wicked",
}


def base_form(word: str) -> str | None:
    """The present of a past form, or None."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if not word.endswith("ed") or len(word) < 5 or word in NOT_PAST:
        return None
    stem = word[:-2]
    if stem.endswith("i"):
        return stem[:-1] + "y"
    return stem[:-1] if len(stem) > 3 and stem[-1] == stem[-2] and stem[-1] not in "ls" else stem


def swap(sentence: str, match: re.Match[str], word: str) -> str:
    word = word.capitalize() if match[0][0].isupper() else word
    return sentence[: match.start()] + word + sentence[match.end() :]


def corrupt_word(sentence: str, story: str, rng: random.Random) -> str | None:
    match = rng.choice(list(WORD.finditer(sentence)))
    return swap(sentence, match, rng.choice([w for w in WORDS if w.lower() != match[0].lower()]))


def corrupt_pronoun(sentence: str, story: str, rng: random.Random) -> str | None:
    matches = [
        m for m in WORD.finditer(sentence) if any(m[0].lower() in group for group in (SUBJECTS, OBJECTS, OWNERS))
    ]
    if not matches:
        return None
    match = rng.choice(matches)
    groups = [group for group in (SUBJECTS, OBJECTS, OWNERS) if match[0].lower() in group]
    return swap(sentence, match, rng.choice([p for p in rng.choice(groups) if p != match[0].lower()]))


def corrupt_tense(sentence: str, story: str, rng: random.Random) -> str | None:
    matches = [m for m in WORD.finditer(sentence) if base_form(m[0].lower())]
    if not matches:
        return None
    match = rng.choice(matches)
    base = base_form(match[0].lower())
    assert base is not None
    return swap(sentence, match, rng.choice([base, base + "s"]) if match[0] not in IRREGULAR else base)


def corrupt_name(sentence: str, story: str, rng: random.Random) -> str | None:
    matches = [m for m in WORD.finditer(sentence) if m[0] in NAMES]
    if not matches:
        return None
    return swap(sentence, rng.choice(matches), rng.choice([n for n in NAMES if n not in WORD.findall(story)]))


def corrupt_place(sentence: str, story: str, rng: random.Random) -> str | None:
    matches = [m for m in WORD.finditer(sentence) if m[0] in PLACES]
    if not matches:
        return None
    match = rng.choice(matches)
    return swap(sentence, match, rng.choice([p for p in PLACES if p != match[0]]))


WORDS = sorted(vocabulary())
NAMES = sorted(name for role in "AB" for name in world.load().domains[role])
PLACES = sorted(world.load().domains["P.n"])
Corruption = Callable[[str, str, random.Random], "str | None"]
CORRUPTIONS: dict[str, Corruption] = {
    "word": corrupt_word,
    "pronoun": corrupt_pronoun,
    "tense": corrupt_tense,
    "name": corrupt_name,
    "place": corrupt_place,
}


def count_rejected(corrupt: Corruption, count: int, seed: int) -> tuple[int, int, list[tuple[str, str]]]:
    """Corrupt one sentence of each story: how many were rejected, how many corrupted, and those that passed."""
    rng, seen, caught, missed = random.Random(seed), 0, 0, []
    for story in stories(1000 + seed, count):
        parts = sentences(story)
        at = rng.randrange(len(parts))
        corrupted = corrupt(parts[at], story, rng)
        if corrupted is None:
            continue
        report = check(" ".join([*parts[:at], corrupted, *parts[at + 1 :]]))
        seen += 1
        if report.verdicts[at].ok:
            missed.append((parts[at], corrupted))
        else:
            caught += 1
    return caught, seen, missed


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_sentence_with_one_wrong_word_is_rejected(kind: str) -> None:
    caught, seen, missed = count_rejected(CORRUPTIONS[kind], 1_000, seed=7)
    assert seen >= 250
    assert caught / seen >= 0.97, f"{kind}: {caught} of {seen}, missed {missed[:5]}"


def faults(count: int, seed: int) -> tuple[int, list[tuple[str, str]]]:
    total, found = 0, []
    for story in stories(seed, count):
        report = check(story)
        assert report.num_fragments == 0
        total += len(report.verdicts)
        found += [(verdict.reason, story) for verdict in report.verdicts if not verdict.ok]
    return total, found


def test_every_generated_sentence_passes() -> None:
    total, found = faults(2_200, seed=31)
    assert total > 20_000
    assert not found, found[:3]


@pytest.mark.slow
def test_a_million_generated_sentences_pass() -> None:
    total, found = faults(100_000, seed=32)
    assert total > 990_000
    assert not found, found[:3]


def test_checking_two_hundred_sentences_takes_under_half_a_second() -> None:
    text = list(stories(2, 25))
    check(text[0])  # loads the story world
    begun = time.process_time()
    assert sum(len(check(story).verdicts) for story in text) > 200
    assert time.process_time() - begun < patience.limit(0.5)


OPENING = "Once upon a time, a kind girl named Mia had a red kite. "
GONE = "One day, Mia took the red kite to the leafy park. "


@pytest.mark.parametrize(
    ("sentence", "kind"),
    [
        ("She tripped over a root in the park and dropped the red kite.", ""),
        ("Mia tripped over a root in the park and dropped the kite.", ""),
        ("He tripped over a root in the park and dropped the red kite.", "fact"),
        ("They tripped over a root in the park and dropped the red kite.", "grammar"),
        ("Mia trips over a root in the park and dropped the red kite.", "word"),
        ("Mia tripped over an root in the park and dropped the red kite.", "grammar"),
        ("Mia tripped over a root in the park and dropped the ripe kite.", "fit"),
        ("Mia tripped over a root in the park and dropped the drum.", "fact"),
        ("Mia tripped over a root at the park and dropped the red kite.", "fit"),
        ("Lily tripped over a root in the park and dropped the red kite.", "fact"),
        ("Zara tripped over a root in the park and dropped the red kite.", "fit"),
        ("Mia tripped over a root in the park  and dropped the red kite.", "grammar"),
        ("Mia dropped Mia dropped.", "grammar"),
        ('"I lost my red kite, Omar," said Mia.', "unknown"),
    ],
)
def test_each_fault_is_reported_with_its_kind(sentence: str, kind: str) -> None:
    report = check(OPENING + GONE + sentence)
    assert [verdict.kind for verdict in report.verdicts] == ["", "", kind]
    assert report.verdicts[2].ok is (kind == "")


def test_a_fault_names_the_slots_in_words() -> None:
    drum = "Mia tripped over a root in the park and dropped the drum."
    assert check(OPENING + GONE + drum).verdicts[2].reason == "fact: the thing is drum here, kite elsewhere"
    he = "He tripped over a root in the park and dropped the red kite."
    assert check(OPENING + GONE + he).verdicts[2].reason == "fact: the hero's gender is male here, female elsewhere"


def test_every_slot_has_a_name_in_words() -> None:
    keys = [*world.load().domains, *(f"{role}.gender" for role in "ABK")]
    in_words = re.compile(r"the [a-z]+( [a-z]+)?('s [a-z]+( [a-z]+)?)?")
    assert not [key for key in keys if not in_words.fullmatch(world.slot_name(key))]
    assert world.slot_name("P.adj") == "the place's adjective"


def test_unseen_combinations_pass() -> None:
    # None of these sentences comes from the generator; each fits the grammar and its story.
    text = (
        "Long ago, a brave otter named Rusty found a wooden flute in a ditch. "
        "On a frosty Tuesday, Rusty and his aunt took the wooden flute to the muddy lagoon. "
        "He fell asleep by the lagoon, and the flute was missing when he woke up. "
        '"Oh no, I lost my wooden flute!" exclaimed Rusty.'
    )
    assert [verdict.reason for verdict in check(text).verdicts] == [""] * 4


def test_a_pronoun_refers_to_the_subject_of_the_previous_sentence() -> None:
    opening = "A kind girl named Mia had a friend named Amira who lived near the leafy park. "
    ill = "Amira shivered and stayed in bed all day. "
    assert check(opening + ill + "Amira felt better after the cool cloth and the red kite.").num_ok == 2
    verdicts = check(opening + "One day, Amira had a fever and could not go to the park. " + ill).verdicts
    assert all(verdict.ok for verdict in verdicts)
    she = "She shivered and stayed in bed all day."
    assert check(opening + "One day, Amira had a fever and could not go to the park. " + she).verdicts[2].ok
    assert check(opening + "One day, Mia heard that Amira had a fever. " + she).verdicts[2].kind == "pronoun"


def test_incomplete_sentences_at_the_edges_of_a_text_are_not_checked() -> None:
    story = next(stories(4, 1))
    parts = sentences(story)
    middle = " ".join(parts[3:])
    report = check("the park and ran home. " + middle[:-9])
    assert report.num_fragments == 2
    assert len(report.verdicts) == len(parts) - 4
    assert report.pass_rate == 1


def test_stories_in_one_text_are_checked_separately() -> None:
    first, second = stories(6, 2)
    report = check(first + "\n" + second)
    assert report.pass_rate == 1
    assert len(report.verdicts) == len(sentences(first)) + len(sentences(second))


@pytest.mark.parametrize(
    "text", ["", "   \n ", "...", '"', "\x00\x1b[31m", "Mia", "a" * 10_000, "é ü ß. Ω!", '"" "" "".']
)
def test_meaningless_text_has_no_correct_sentences_and_raises_no_error(text: str) -> None:
    report = check(text)
    assert report.num_ok == 0
    assert 0 <= report.pass_rate <= 1
