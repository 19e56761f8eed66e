"""Normalisation by the mean and the standard deviation of a data set."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from policytrim_gym.errors import InvalidSpec

EPSILON = 1e-8
"""Added to the standard deviation, as transformers' processor of pi0 does: a checkpoint was trained with it."""


class ZScore:
    """Maps numbers to units of their standard deviation, and back.

    Args:
        mean, std: of each number, (size,).
        name: what is normalised, for messages.

    Raises:
        InvalidSpec: other than two lists of one length of finite numbers, or a standard deviation below 0.

    >>> z_score = ZScore([1.0, 2.0], [0.5, 4.0])
    >>> z_score.normalise(torch.tensor([2.0, 2.0]))
    tensor([2., 0.])
    >>> z_score.restore(torch.tensor([2.0, 0.0]))
    tensor([2., 2.])
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], name: str = "values") -> None:
        try:
            self.mean = torch.as_tensor(mean, dtype=torch.float32)
            self.std = torch.as_tensor(std, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InvalidSpec(f"mean and std of the {name} must be two lists of numbers, got {mean!r} and {std!r}") from error
        if self.mean.ndim != 1 or self.mean.shape != self.std.shape or not len(self.mean):
            raise InvalidSpec(f"mean and std of the {name} must have one length, got {tuple(self.mean.shape)} and {tuple(self.std.shape)}")
        if not bool(self.mean.isfinite().all() and self.std.isfinite().all() and (self.std >= 0).all()):
            raise InvalidSpec(f"mean and std of the {name} must be finite, std at least 0, got {mean!r} and {std!r}")

    @property
    def size(self) -> int:
        """How many numbers are normalised."""
        return len(self.mean)

    def normalise(self, values: torch.Tensor) -> torch.Tensor:
        """Returns (values - mean) / std, (..., size)."""
        return (values - self.mean) / (self.std + EPSILON)

    def restore(self, normalised: torch.Tensor) -> torch.Tensor:
        """Returns what `normalise` was given, (..., size)."""
        return normalised * (self.std + EPSILON) + self.mean
