"""`interface.json`: how a pi0 checkpoint is asked, run and trained, which its library does not write down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from policytrim_gym.config import check_fields
from policytrim_gym.errors import InvalidConfig


@dataclass(frozen=True)
class Pi0Interface:
    """What a `Pi0Policy` must know beside weights, tokenizer and statistics.

    Args:
        cameras: names in the order that the model was trained with; each is `observation["image_<name>"]`.
        execute_horizon: stock or proven number of actions to run; None means chunk_size.
        action_kinds: "delta" or "position" for each dimension, or None.
        control_dt_s: seconds between two actions, or None.
        prompt_length: tokens of the instruction, with its start and end; a shorter one is padded.
        batch_block: rows of every forward pass that predicts or samples; fewer are filled up. A chunk then has the same bits whoever
            else waits. Raise it where many environments share a GPU.
        trainable: "all" weights; "expert", without the vision-language model; or "lora", low-rank adapters alone.
        lora_rank, lora_alpha: of the adapters.

    Raises:
        InvalidConfig: no camera or one twice, or a number below 1.

    >>> Pi0Interface(cameras=("front", "front"))
    Traceback (most recent call last):
    ...
    policytrim_gym.errors.InvalidConfig: cameras must be at least one name, each once, got ('front', 'front')
    """

    cameras: tuple[str, ...]
    execute_horizon: int | None = None
    action_kinds: tuple[str, ...] | None = None
    control_dt_s: float | None = None
    prompt_length: int = 48
    batch_block: int = 1
    trainable: Literal["all", "expert", "lora"] = "all"
    lora_rank: int = 16
    lora_alpha: int = 16

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.cameras or len(set(self.cameras)) < len(self.cameras):
            raise InvalidConfig(f"cameras must be at least one name, each once, got {self.cameras}")
        for name in ("prompt_length", "batch_block", "lora_rank", "lora_alpha"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"{name} must be at least 1, got {getattr(self, name)}")
