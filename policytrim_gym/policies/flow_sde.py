"""One stochastic step in the denoising of a flow-matching policy, which gives its chunks a likelihood (Flow-SDE).

A flow starts at noise, at time t = 1, and follows its velocity v = noise - actions to the actions at t = 0, in K steps of length
d = 1 / K. Followed as an ODE the chunk is a function of the noise and its density cannot be had in closed form. One step taken as an SDE
with the same marginals makes the next x Gaussian given the present one.

It must be the last step: noise that goes in earlier is mixed between the actions of a chunk by the steps that follow, so that the
likelihood of an executed prefix would depend on actions that never ran.
"""

from __future__ import annotations

import torch


def denoising_time(step: int, num_steps: int) -> float:
    """Returns t of a step in 0..K - 1: t = 1 - k / K.

    >>> [denoising_time(step, num_steps=4) for step in range(4)]
    [1.0, 0.75, 0.5, 0.25]
    """
    return 1.0 + step * (-1.0 / num_steps)  # in the order in which transformers rounds it


def euler_step(x: torch.Tensor, velocity: torch.Tensor, num_steps: int) -> torch.Tensor:
    """Returns x one step nearer to the actions: x - v / K."""
    return x + (-1.0 / num_steps) * velocity


def sde_moments(
    x: torch.Tensor, velocity: torch.Tensor, time: torch.Tensor, num_steps: int, noise: torch.Tensor | float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns mean and standard deviation of x after one stochastic step.

        x0 = x - v t                       the actions that the velocity points at
        x1 = x + v (1 - t)                 the noise that it comes from
        sigma = a sqrt(t / (1 - t))        with the next t below the root's fraction at t = 1, where it would be infinite
        mean = x0 (1 - t + d) + x1 (t - d - sigma^2 d / (2 t))
        std = sigma sqrt(d)

    With a = 0 it is `euler_step`. At the last step, t = d, it is mean = x0 - x1 sigma^2 / 2. Each number of x has noise of its own, so
    that log-densities add up over dimensions and over the actions of a prefix.

    Args:
        x, velocity: (B, H, A).
        time: t, (B, 1, 1) or a scalar.
        num_steps: K, at least 2.
        noise: a, (B, 1, 1) or a scalar.

    Returns:
        mean (B, H, A), and std as `time` and `noise` broadcast.
    """
    step_size = 1.0 / num_steps
    actions = x - velocity * time
    source = x + velocity * (1 - time)
    sigma = noise * torch.sqrt(time / (1 - time.clamp(max=1 - step_size)))
    mean = actions * (1 - time + step_size) + source * (time - step_size - sigma**2 * step_size / (2 * time))
    return mean, sigma * step_size**0.5


def last_step_std(num_steps: int, noise: float) -> float:
    """Returns the std of the last step, which is the same for every number of a chunk: sigma sqrt(d) at t = d, or a d / sqrt(1 - d).

    >>> round(last_step_std(num_steps=4, noise=0.5), 4)
    0.1443
    """
    step_size = 1.0 / num_steps
    return float(noise * step_size / (1 - step_size) ** 0.5)
