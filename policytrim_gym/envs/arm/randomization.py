"""How much an episode's world may differ from the nominal one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from policytrim_gym.config import check_fields
from policytrim_gym.envs.arm.scene import Physics
from policytrim_gym.errors import InvalidConfig


@dataclass(frozen=True)
class Randomization:
    """Ranges that each initial state draws its world from; the defaults change nothing.

    Args:
        friction: factor on every coefficient of friction.
        mass: factor on the mass of the objects.
        light: factor on the brightness of the images.
        delay_steps: control steps from an action to the moment that it takes effect, from..to.

    Raises:
        InvalidConfig: a range whose ends are in the wrong order or not above 0 (a delay: below 0).

    >>> world, delay = Randomization(friction=(0.8, 1.2), delay_steps=(0, 2)).draw(np.random.default_rng(0))
    >>> 0.8 <= world.friction <= 1.2, world.mass, 0 <= delay <= 2
    (True, 1.0, True)
    """

    friction: tuple[float, float] = (1.0, 1.0)
    mass: tuple[float, float] = (1.0, 1.0)
    light: tuple[float, float] = (1.0, 1.0)
    delay_steps: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("friction", "mass", "light"):
            low, high = getattr(self, name)
            if not 0 < low <= high < float("inf"):
                raise InvalidConfig(f"randomization.{name} must be a range (low, high) above 0, got {(low, high)}")
        if not 0 <= self.delay_steps[0] <= self.delay_steps[1]:
            raise InvalidConfig(f"randomization.delay_steps must be a range (low, high) of at least 0, got {self.delay_steps}")

    def draw(self, random: np.random.Generator) -> tuple[Physics, int]:
        """Returns one world and its delay [steps]."""
        physics = Physics(*(float(random.uniform(*getattr(self, name))) for name in Physics._fields))
        return physics, int(random.integers(self.delay_steps[0], self.delay_steps[1] + 1))
