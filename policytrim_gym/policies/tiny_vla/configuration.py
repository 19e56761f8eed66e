"""What a tiny VLA is made of: its config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from policytrim_gym.errors import InvalidConfig
from policytrim_gym.policies.tiny_vla.settings import HEADS, TRAINABLE
from policytrim_gym.spec import PolicySpec

LEAST_IMAGE_SIZE = 32
"""The image encoder halves an image three times."""


@strict
class TinyVLAConfig(PreTrainedConfig):
    """Architecture and interface of a `TinyVLAModel`.

    Args:
        cameras: names of the images, in the order of the weights; each is `observation["image_<name>"]`.
        image_size: side of each image [pixels], at least 32.
        state_size: numbers in `observation["state"]`.
        vocab_size: tokens that the tokenizer has.
        action_dim, chunk_size: sizes of the chunk.
        execute_horizon: stock or proven horizon.
        action_kinds: "delta" or "position" for each dimension, or None.
        action_origins: for each dimension the index in the state of the number that the action continues, or None; see `ActionIncrements`.
        control_dt_s: seconds between two actions, or None.
        head: "gaussian" or "flow".
        image_channels: of the image encoder's first convolution; the others have two and three times as many.
        hidden_size: of the layers between what was seen and the head.
        instruction_size: of the instruction's embedding.
        num_inference_steps: K, denoising steps of a flow, at least 2.
        prompt_length: tokens of the longest instruction.
        batch_block: rows of every forward pass that predicts or samples; fewer are filled up, so that a chunk has the same bits whoever
            else waits.
        shift_pixels: an image is shifted by up to so many pixels when imitating.
        trainable: "all" weights, or "head": all but the image encoder.
    """

    model_type = "policytrim_tiny_vla"

    cameras: list[str] | tuple[str, ...] = ("front",)
    image_size: int = 64
    state_size: int = 4
    vocab_size: int = 3
    action_dim: int = 4
    chunk_size: int = 24
    execute_horizon: int = 6
    action_kinds: list[str] | tuple[str, ...] | None = None
    action_origins: list[int | None] | tuple[int | None, ...] | None = None
    control_dt_s: float | None = None
    head: str = "gaussian"
    image_channels: int = 24
    hidden_size: int = 384
    instruction_size: int = 64
    num_inference_steps: int = 4
    prompt_length: int = 16
    batch_block: int = 4
    shift_pixels: int = 2
    trainable: str = "all"

    def check(self) -> None:
        """Raises InvalidConfig, naming the field, the value and what was expected."""
        if not self.cameras or len(set(self.cameras)) < len(self.cameras):
            raise InvalidConfig(f"cameras must be at least one name, each once, got {tuple(self.cameras)}")
        least: Mapping[str, int] = {
            "image_size": LEAST_IMAGE_SIZE,
            "num_inference_steps": 2,  # a single step cannot be the stochastic one
            "shift_pixels": 0,
            "vocab_size": 3,
            **dict.fromkeys(("state_size", "image_channels", "hidden_size", "instruction_size", "prompt_length", "batch_block"), 1),
        }
        for name, value in least.items():
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int) or number < value:
                raise InvalidConfig(f"{name} must be an integer of at least {value}, got {number!r}")
        for name, choices in {"head": HEADS, "trainable": TRAINABLE}.items():
            if getattr(self, name) not in choices:
                raise InvalidConfig(f"{name} must be one of {choices}, got {getattr(self, name)!r}")
        self.to_spec()

    @property
    def origins(self) -> tuple[int | None, ...]:
        """The action origins, spelled out for each dimension, (action_dim,)."""
        return (None,) * self.action_dim if self.action_origins is None else tuple(self.action_origins)

    @property
    def image_keys(self) -> tuple[str, ...]:
        """Keys of the images in an observation, in the order of the cameras."""
        return tuple(f"image_{camera}" for camera in self.cameras)

    def to_spec(self) -> PolicySpec:
        """Returns the PolicySpec of such a policy."""
        shapes: dict[str, Any] = {key: (self.image_size, self.image_size, 3) for key in self.image_keys}
        return PolicySpec(
            chunk_size=self.chunk_size,
            action_dim=self.action_dim,
            execute_horizon=self.execute_horizon,
            control_dt_s=self.control_dt_s,
            observation_shapes={**shapes, "state": (self.state_size,)},
            needs_instruction=True,
            action_kinds=None if self.action_kinds is None else tuple(self.action_kinds),
        )
