"""A pi0 of the real architecture, but small enough for one CPU core, with random weights: to be cloned, and for tests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from policytrim_gym.policies.norm_statistics import NormStatistics
from policytrim_gym.policies.pi0 import Pi0Policy
from policytrim_gym.policies.pi0_interface import Pi0Interface
from policytrim_gym.policies.word_tokenizer import split_words

PADDING, BEGINNING, UNKNOWN = "<pad>", "<bos>", "<unk>"


def small_pi0_policy(
    state_size: int,
    action_dim: int,
    texts: Iterable[str],
    cameras: Sequence[str] = ("front",),
    chunk_size: int = 8,
    seed: int = 0,
    num_inference_steps: int = 4,
    hidden_size: int = 32,
    image_size: int = 28,
    interface: Pi0Interface | None = None,
) -> Pi0Policy:
    """Returns a policy with random weights and statistics that change nothing.

    Args:
        state_size, action_dim, chunk_size: sizes of state, action and chunk.
        texts: instructions, whose words become the vocabulary.
        cameras: names of the images; `interface` has its own.
        seed: of the weights.
        num_inference_steps: K, denoising steps.
        hidden_size: of both transformers, a multiple of 32.
        image_size: of the square that the vision tower sees, a multiple of 14 [pixels].
        interface: horizon, kinds of actions, what is trained; None takes the defaults.
    """
    tokenizer = word_level_tokenizer(texts)
    transformer = {
        "model_type": "gemma",
        "hidden_size": hidden_size,
        "num_hidden_layers": 2,
        "intermediate_size": 2 * hidden_size,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": hidden_size // 2,
        "vocab_size": len(tokenizer),
    }
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": hidden_size,
        "intermediate_size": 2 * hidden_size,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "patch_size": 14,
        "image_size": image_size,
        "vision_use_head": False,
    }
    vlm = {
        "model_type": "paligemma",
        "text_config": transformer,
        "vision_config": vision,
        "projection_dim": hidden_size,
        "image_token_id": len(tokenizer),
    }
    sizes = {"chunk_size": chunk_size, "max_state_dim": max(8, state_size), "max_action_dim": max(8, action_dim)}
    model = _random_model({"vlm_config": vlm, "dit_config": dict(transformer), "num_inference_steps": num_inference_steps, **sizes}, seed)
    state_statistics, action_statistics = (NormStatistics((0.0,) * size, (1.0,) * size) for size in (state_size, action_dim))
    settings = Pi0Interface(tuple(cameras), prompt_length=16) if interface is None else interface
    return Pi0Policy(model, tokenizer, state_statistics, action_statistics, settings)


def word_level_tokenizer(texts: Iterable[str]) -> Any:
    """Returns a tokenizer of transformers that knows the words of `texts`."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    words = [PADDING, BEGINNING, UNKNOWN, *sorted({word for text in texts for word in split_words(text)})]
    description = {
        "version": "1.0",
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "added_tokens": [],
        "model": {"type": "WordLevel", "vocab": {word: index for index, word in enumerate(words)}, "unk_token": UNKNOWN},
    }
    tokenizer = Tokenizer.from_str(json.dumps(description))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PADDING, bos_token=BEGINNING, unk_token=UNKNOWN)


def _random_model(settings: dict[str, Any], seed: int) -> Any:
    from transformers import PI0Config, PI0ForConditionalGeneration

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return PI0ForConditionalGeneration(PI0Config(**settings))
