"""The part of a tiny VLA's architecture that a user chooses; the rest is what the demonstrations have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from policytrim_gym.config import check_fields
from policytrim_gym.errors import InvalidConfig

HEADS = ("gaussian", "flow")
TRAINABLE = ("all", "head")

EXPLORATION: Mapping[str, tuple[Mapping[str, float], Mapping[str, float]]] = {
    "gaussian": ({"action_std": 0.12, "gain_std": 0.15}, {"action_std": 0.08, "gain_std": 0.03}),
    "flow": ({"noise": 0.5, "gain_std": 0.15}, {"noise": 0.25, "gain_std": 0.03}),
}
"""For each head the spread of samples at the start and at the end of a stage."""


@dataclass(frozen=True)
class TinyVLASettings:
    """How a tiny VLA is built.

    Args:
        head: "gaussian", which predicts all actions of a chunk at once, with a learned spread; or "flow", which denoises them.
        image_channels: of the image encoder's first convolution; the others have two and three times as many.
        hidden_size: of the layers between what was seen and the head.
        num_inference_steps: K, denoising steps of a flow, at least 2.
        prompt_length: tokens of the longest instruction.
        shift_pixels: an image is shifted by up to so many pixels when imitating.
        trainable: "all" weights, or "head": all but the image encoder.

    Raises:
        InvalidConfig: a number below its least.

    >>> TinyVLASettings(head="flow", num_inference_steps=1)
    Traceback (most recent call last):
    ...
    policytrim_gym.errors.InvalidConfig: num_inference_steps must be at least 2, got 1
    """

    head: Literal["gaussian", "flow"] = "gaussian"
    image_channels: int = 24
    hidden_size: int = 384
    num_inference_steps: int = 4
    prompt_length: int = 16
    shift_pixels: int = 2
    trainable: Literal["all", "head"] = "all"

    def __post_init__(self) -> None:
        check_fields(self)
        least = {"image_channels": 1, "hidden_size": 1, "num_inference_steps": 2, "prompt_length": 1, "shift_pixels": 0}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise InvalidConfig(f"{name} must be at least {value}, got {getattr(self, name)}")

    @property
    def exploration_start(self) -> Mapping[str, float]:
        """See `Explorer`."""
        return EXPLORATION[self.head][0]

    @property
    def exploration_end(self) -> Mapping[str, float]:
        """See `Explorer`."""
        return EXPLORATION[self.head][1]
