"""A tiny VLA with random weights: to be cloned, and for tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from policytrim_gym.policies.tiny_vla.configuration import TinyVLAConfig
from policytrim_gym.policies.tiny_vla.modeling import TinyVLAModel
from policytrim_gym.policies.tiny_vla.policy import TinyVLAPolicy
from policytrim_gym.policies.word_level_tokenizer import word_level_tokenizer


def random_tiny_vla(texts: Iterable[str], seed: int = 0, **config: Any) -> TinyVLAPolicy:
    """Returns a policy that knows the words of `texts`.

    Args:
        texts: instructions.
        seed: of the weights.
        config: fields of `TinyVLAConfig` but for `vocab_size`.

    Raises:
        InvalidConfig: a number below its least, or an unknown choice.
    """
    tokenizer = word_level_tokenizer(texts)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = TinyVLAModel(TinyVLAConfig(vocab_size=len(tokenizer), **config))
    return TinyVLAPolicy(model, tokenizer)
