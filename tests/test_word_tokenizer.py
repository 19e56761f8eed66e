"""Laws of the word tokenizer."""

from __future__ import annotations

import pytest

from policytrim_gym.policies.word_tokenizer import PADDING, UNKNOWN, WordTokenizer

TEXTS = ["open the door", "push the puck to the goal"]


@pytest.mark.parametrize("length", [0, 1, 3, 16])
def test_every_text_becomes_exactly_length_tokens(length: int) -> None:
    tokenizer = WordTokenizer.from_texts(TEXTS)
    for text in [*TEXTS, "", "???", "unheard words"]:
        tokens = tokenizer.encode(text, length)
        assert len(tokens) == length
        assert all(0 <= token < tokenizer.vocabulary_size for token in tokens)


def test_known_words_have_tokens_of_their_own() -> None:
    tokenizer = WordTokenizer.from_texts(TEXTS)
    tokens = [tokenizer.encode(word, 1)[0] for word in tokenizer.words]
    assert len({*tokens, PADDING, UNKNOWN}) == tokenizer.vocabulary_size
    assert tokenizer.encode("window", 2) == [UNKNOWN, PADDING]


def test_case_and_punctuation_do_not_matter() -> None:
    tokenizer = WordTokenizer.from_texts(TEXTS)
    assert tokenizer.encode("OPEN, the door!", 5) == tokenizer.encode("open the door", 5)


def test_the_order_of_the_texts_does_not_matter() -> None:
    assert WordTokenizer.from_texts(TEXTS).words == WordTokenizer.from_texts(reversed(TEXTS)).words


def test_json_gives_the_tokenizer_back() -> None:
    tokenizer = WordTokenizer.from_texts(TEXTS)
    assert WordTokenizer.from_json(tokenizer.to_json()).words == tokenizer.words
