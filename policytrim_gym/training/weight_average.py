"""The running average of a policy's weights over the iterations of a stage."""

from __future__ import annotations

from typing import Any


def average_into(average: dict[str, Any], weights: dict[str, Any], decay: float, count: int) -> None:
    """Moves a running average of weights towards the present ones, in place.

    Weights of k iterations ago count decay ** k, over the sum of these, as in Adam's moments. Without that the weights that entered a
    stage of five iterations would be 0.9 ** 5 = 59 % of what it is judged by.

    Args:
        average: after `count` - 1 iterations; what it holds before the first does not matter.
        weights: of the present iteration, with the same names.
        decay: 0..1; 0 keeps the present weights, 1 is the plain mean.
        count: iterations, the present one among them.
    """
    share = 1 / sum(decay**age for age in range(count))
    for name, value in weights.items():
        average[name].mul_(1 - share).add_(value, alpha=share)
