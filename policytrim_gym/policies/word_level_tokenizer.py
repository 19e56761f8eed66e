"""A tokenizer of transformers that knows the words of some texts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

PADDING, BEGINNING, UNKNOWN = "<pad>", "<bos>", "<unk>"


def word_level_tokenizer(texts: Iterable[str]) -> Any:
    """Returns a tokenizer of transformers that knows every word and sign of `texts`."""
    from tokenizers import Tokenizer
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    # Split as the tokenizer itself will: a word that is cut otherwise here would be unknown to it.
    known = {word for text in texts for word, _ in Whitespace().pre_tokenize_str(Lowercase().normalize_str(text))}
    words = [PADDING, BEGINNING, UNKNOWN, *sorted(known)]
    description = {
        "version": "1.0",
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "added_tokens": [],
        "model": {"type": "WordLevel", "vocab": {word: index for index, word in enumerate(words)}, "unk_token": UNKNOWN},
    }
    tokenizer = Tokenizer.from_str(json.dumps(description))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PADDING, bos_token=BEGINNING, unk_token=UNKNOWN)
