"""The score of a model's stories: how many sentences pass, and how many are copied."""

from __future__ import annotations

from seedbed.data.stories.generator import stories
from seedbed.data.stories.score import score_stories
from seedbed.data.stories.sentences import sentences, split


def test_the_corpus_itself_has_a_pass_rate_of_one() -> None:
    texts = list(stories(1, 30))
    training = {sentence for text in texts[:15] for sentence in sentences(text)}
    result = score_stories(texts, training)
    assert result.pass_rate == 1
    assert result.num_sentences == sum(len(sentences(text)) for text in texts)
    assert result.num_verbatim is not None
    own = sum(len(sentences(text)) for text in texts[:15])
    assert own <= result.num_verbatim < result.num_sentences


def test_faults_are_counted_by_kind() -> None:
    text = "Once, a kind girl named Mia had a red kite. One day, Mia took the red kite to the xyzzy park. Mia Mia Mia. And th"
    result = score_stories([text])
    assert (result.num_sentences, result.num_ok, result.num_fragments) == (3, 1, 1)
    assert result.reasons == {"word": 1, "grammar": 1}
    assert result.verbatim_rate is None
    assert [verdict.text for verdict in result.failed] == sentences(text)[1:]


def test_the_limit_on_sentences_is_exact() -> None:
    assert score_stories(stories(1, 100), limit=200).num_sentences == 200


def test_no_text_has_rates_of_zero() -> None:
    assert score_stories([]).pass_rate == 0
    assert score_stories([""], set()).verbatim_rate == 0


def test_text_is_split_into_sentences_and_fragments() -> None:
    text = '"Where is it?" asked Mia. Ben said, "It is here." "Come in, come in!" cried Ben.\n\nOne day it rai'
    assert split(text).sentences == [
        '"Where is it?" asked Mia.',
        'Ben said, "It is here."',
        '"Come in, come in!" cried Ben.',
    ]
    assert split(text).fragments == ["One day it rai"]
    assert split('rest of it. All was well. "Who is it?"').fragments == ["rest of it.", '"Who is it?"']
