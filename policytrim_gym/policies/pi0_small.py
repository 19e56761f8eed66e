"""A pi0 of the real architecture, but small enough for one CPU core, with random weights: to be cloned, and for tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from policytrim_gym.config import check_fields
from policytrim_gym.errors import InvalidConfig
from policytrim_gym.policies.norm_statistics import NormStatistics
from policytrim_gym.policies.pi0 import Pi0Policy
from policytrim_gym.policies.pi0_interface import Pi0Interface
from policytrim_gym.policies.word_level_tokenizer import word_level_tokenizer


@dataclass(frozen=True)
class SmallPi0Config:
    """Architecture of a small pi0.

    Args:
        hidden_size: of the vision tower, the language model and the action expert; an even multiple of num_heads.
        num_layers: of the language model and of the expert, whose layers attend to its own.
        vision_layers: of the vision tower.
        num_heads: of the attention in all three.
        image_size: side of the square that the vision tower sees, a multiple of patch_size [pixels].
        patch_size: side of what becomes one token [pixels].
        num_inference_steps: K, denoising steps of a prediction, at least 2.
        prompt_length: tokens of the instruction, with its start and end.
        batch_block: rows of every forward pass that predicts, see `Pi0Interface`; 4 take about twice as long as 1.

    Raises:
        InvalidConfig: a size below its least, or sizes that do not divide each other.

    >>> SmallPi0Config(image_size=60)
    Traceback (most recent call last):
    ...
    policytrim_gym.errors.InvalidConfig: image_size must be a multiple of patch_size (8), got 60
    """

    hidden_size: int = 128
    num_layers: int = 4
    vision_layers: int = 4
    num_heads: int = 4
    image_size: int = 64
    patch_size: int = 8
    num_inference_steps: int = 4
    prompt_length: int = 16
    batch_block: int = 4

    def __post_init__(self) -> None:
        check_fields(self)
        for name in vars(self):
            least = 2 if name == "num_inference_steps" else 1  # a single step cannot be the stochastic one
            if getattr(self, name) < least:
                raise InvalidConfig(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.hidden_size % (2 * self.num_heads):  # rotary positions need heads of an even size
            raise InvalidConfig(f"hidden_size must be a multiple of twice num_heads ({self.num_heads}), got {self.hidden_size}")
        if self.image_size % self.patch_size:
            raise InvalidConfig(f"image_size must be a multiple of patch_size ({self.patch_size}), got {self.image_size}")


def small_pi0_policy(
    state_size: int,
    action_dim: int,
    texts: Iterable[str],
    cameras: Sequence[str] = ("front",),
    chunk_size: int = 8,
    seed: int = 0,
    config: SmallPi0Config | None = None,
    interface: Pi0Interface | None = None,
    state_statistics: NormStatistics | None = None,
    action_statistics: NormStatistics | None = None,
) -> Pi0Policy:
    """Returns a policy with random weights.

    Args:
        state_size, action_dim, chunk_size: sizes of state, action and chunk.
        texts: instructions, whose words become the vocabulary.
        cameras: names of the images; `interface` has its own.
        seed: of the weights.
        config: of the architecture; None takes the defaults.
        interface: horizon, kinds of actions, what is trained; None takes the defaults.
        state_statistics, action_statistics: that the policy normalises by; None changes nothing.
    """
    architecture = SmallPi0Config() if config is None else config
    tokenizer = word_level_tokenizer(texts)
    sizes = {"chunk_size": chunk_size, "max_state_dim": state_size, "max_action_dim": action_dim}
    model = _random_model({**_model_settings(architecture, len(tokenizer)), **sizes}, seed)
    unchanged = [NormStatistics((0.0,) * size, (1.0,) * size) for size in (state_size, action_dim)]
    return Pi0Policy(
        model,
        tokenizer,
        state_statistics or unchanged[0],
        action_statistics or unchanged[1],
        interface or Pi0Interface(tuple(cameras), prompt_length=architecture.prompt_length, batch_block=architecture.batch_block),
    )


def _model_settings(config: SmallPi0Config, vocabulary_size: int) -> dict[str, Any]:
    """Returns what a PI0Config takes, but for the sizes of state, action and chunk."""
    transformer = {
        "model_type": "gemma",
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_layers,
        "intermediate_size": 2 * config.hidden_size,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": 1,
        "head_dim": config.hidden_size // config.num_heads,
        "vocab_size": vocabulary_size,
    }
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": config.hidden_size,
        "intermediate_size": 2 * config.hidden_size,
        "num_hidden_layers": config.vision_layers,
        "num_attention_heads": config.num_heads,
        "patch_size": config.patch_size,
        "image_size": config.image_size,
        "vision_use_head": False,
    }
    vlm = {
        "model_type": "paligemma",
        "text_config": transformer,
        "vision_config": vision,
        "projection_dim": config.hidden_size,
        "image_token_id": vocabulary_size,
    }
    return {"vlm_config": vlm, "dit_config": dict(transformer), "num_inference_steps": config.num_inference_steps}


def _random_model(settings: dict[str, Any], seed: int) -> Any:
    from transformers import PI0Config, PI0ForConditionalGeneration

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = PI0ForConditionalGeneration(PI0Config(**settings))
        _scale_to_width(model)
    return model


def _scale_to_width(model: Any) -> None:
    """Draws weights anew that keep the size of what passes through a linear layer; the vision tower and the norms have theirs.

    The library's 0.02 is made for a width of thousands. At 128 it shrinks what passes to a quarter in every layer, and of the noisy
    actions next to nothing reaches the expert. The velocity begins near 0.
    """
    for name, module in model.named_modules():
        if "vision_tower" in name or name == "action_out_proj" or not isinstance(module, (torch.nn.Linear, torch.nn.Embedding)):
            continue
        # An embedding is multiplied by the root of its width when it is looked up.
        torch.nn.init.normal_(module.weight, std=module.weight.shape[1] ** -0.5)
