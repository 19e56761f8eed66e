"""Laws of the stochastic denoising step."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from policytrim_gym.policies.flow_sde import denoising_time, euler_step, sde_moments  # noqa: E402


def random_step(step: int, num_steps: int = 5) -> tuple:
    generator = torch.Generator().manual_seed(0)
    x, velocity = torch.randn(2, 3, 4, 2, generator=generator)
    return x, velocity, torch.tensor(denoising_time(step, num_steps)), num_steps


@pytest.mark.parametrize("step", range(5))
def test_without_noise_it_is_the_euler_step(step: int) -> None:
    x, velocity, time, num_steps = random_step(step)
    mean, std = sde_moments(x, velocity, time, num_steps, noise=0.0)
    torch.testing.assert_close(mean, euler_step(x, velocity, num_steps))
    assert not std.any()


def test_the_last_step_has_its_closed_form() -> None:
    x, velocity, time, num_steps = random_step(step=4)
    mean, std = sde_moments(x, velocity, time, num_steps, noise=0.5)
    sigma_squared = 0.5**2 / 4  # a^2 t / (1 - t) at t = 1/5
    torch.testing.assert_close(mean, (x - velocity / 5) - (x + velocity * 4 / 5) * sigma_squared / 2)
    assert float(std) == pytest.approx((sigma_squared / 5) ** 0.5)


def test_the_first_step_is_finite() -> None:
    mean, std = sde_moments(*random_step(step=0), noise=0.5)
    assert mean.isfinite().all()
    assert float(std) == pytest.approx(0.5)  # a sqrt(1 / (1 - 4/5)) sqrt(1/5)


@pytest.mark.parametrize("step", [200, 500, 800])
def test_the_marginals_are_those_of_the_flow(step: int) -> None:
    """From one datum to noise n, x = (1 - t) datum + t n: after the step its spread is t - d, to first order in d."""
    num_steps, datum = 1000, torch.tensor(0.7, dtype=torch.float64)
    time = torch.tensor(denoising_time(step, num_steps), dtype=torch.float64)
    noise = torch.tensor([0.0, 1.0], dtype=torch.float64)
    mean, std = sde_moments((1 - time) * datum + time * noise, noise - datum, time, num_steps, noise=1.0)
    later = time - 1 / num_steps
    assert float(mean[0]) == pytest.approx(float((1 - later) * datum))
    variance = (mean[1] - mean[0]) ** 2 + std**2
    assert abs(float(variance - later**2)) < 0.01 * float(std**2)  # the drift takes back what the noise adds
