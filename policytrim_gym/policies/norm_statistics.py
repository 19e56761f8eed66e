"""Statistics that a model's states and actions were normalised by."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from policytrim_gym.config import check_fields, from_mapping
from policytrim_gym.errors import InvalidConfig


@dataclass(frozen=True)
class NormStatistics:
    """Mean, spread and outer quantiles of each number of a vector over the training data, as openpi records them.

    Args:
        mean, std: (n,).
        q01, q99: 1 % and 99 % quantiles, (n,); None where they were not recorded (then only z-scores can be had).

    Raises:
        InvalidConfig: lengths that differ, a number that is not finite, a negative std or a q99 below its q01.

    >>> NormStatistics(mean=(0.1, 2.0), std=(1.0, 0.5)).q01 is None
    True
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    q01: tuple[float, ...] | None = None
    q99: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("mean", "std", "q01", "q99"):
            values = getattr(self, name)
            if values is None:
                continue
            if len(values) != len(self.mean):
                raise InvalidConfig(f"{name} must have as many numbers as mean ({len(self.mean)}), got {len(values)}")
            if not np.isfinite(values).all():
                raise InvalidConfig(f"{name} must be finite, got {values}")
        if min(self.std, default=0.0) < 0:
            raise InvalidConfig(f"std must not be negative, got {min(self.std)}")
        if (self.q01 is None) != (self.q99 is None):
            raise InvalidConfig("q01 and q99 come together, got one of them")
        if self.q01 is not None and self.q99 is not None and any(high < low for low, high in zip(self.q01, self.q99)):
            raise InvalidConfig(f"q99 must not be below q01, got {self.q01} and {self.q99}")


def load_norm_statistics(path: str | os.PathLike[str]) -> dict[str, NormStatistics]:
    """Reads a `norm_stats.json` as openpi writes it beside a checkpoint, one entry each for "state" and "actions".

    Returns:
        The statistics by the name of their entry.

    Raises:
        InvalidConfig: the file cannot be read, is not JSON or of another form; the message names the file.

    Source: `openpi/shared/normalize.py`, an object {"norm_stats": {name: {"mean", "std", "q01", "q99"}}}.
    """
    try:
        content: Any = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidConfig(f"could not read the statistics {path}: {error}") from error
    entries = content.get("norm_stats") if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise InvalidConfig(f'{path}: expected {{"norm_stats": {{"state": ..., "actions": ...}}}} as openpi writes it')
    try:
        return {name: from_mapping(NormStatistics, values, name) for name, values in entries.items()}
    except InvalidConfig as error:
        raise InvalidConfig(f"{path}: {error}") from error
