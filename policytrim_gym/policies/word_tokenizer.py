"""A vocabulary of whole words, saved beside the weights."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

PADDING, UNKNOWN = 0, 1


class WordTokenizer:
    """Splits an instruction into known words; an unknown word becomes one shared token.

    Args:
        words: the vocabulary, in the order of its tokens from 2 on.

    >>> tokenizer = WordTokenizer.from_texts(["open the door", "close the door"])
    >>> tokenizer.encode("Open the window", length=4)
    [4, 5, 1, 0]
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._tokens = {word: token for token, word in enumerate(self.words, start=2)}

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> WordTokenizer:
        """Returns the tokenizer that knows every word of `texts`."""
        return cls(sorted({word for text in texts for word in split_words(text)}))

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens, with padding and unknown."""
        return len(self.words) + 2

    def encode(self, text: str, length: int) -> list[int]:
        """Returns exactly `length` tokens: cut, or padded with 0."""
        tokens = [self._tokens.get(word, UNKNOWN) for word in split_words(text)][:length]
        return tokens + [PADDING] * (length - len(tokens))

    def to_json(self) -> str:
        """Returns the file content that `from_json` reads."""
        return json.dumps({"type": "word", "words": list(self.words)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> WordTokenizer:
        """Takes back what `to_json` gave."""
        return cls(json.loads(text)["words"])


def split_words(text: str) -> list[str]:
    """Returns the lower-case words of a text.

    >>> split_words("Push the puck!")
    ['push', 'the', 'puck']
    """
    return re.findall(r"[a-z0-9]+", text.lower())
