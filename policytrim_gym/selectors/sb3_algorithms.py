"""The Stable-Baselines3 algorithms that can choose among numbered actions."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from policytrim_gym.errors import InvalidConfig, MissingExtra

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

_MODULE_AND_CLASS = {
    "a2c": ("stable_baselines3", "A2C"),
    "dqn": ("stable_baselines3", "DQN"),
    "ppo": ("stable_baselines3", "PPO"),
    "qrdqn": ("sb3_contrib", "QRDQN"),
}
ALGORITHMS = tuple(_MODULE_AND_CLASS)
CONTINUOUS_ONLY = ("crossq", "ddpg", "sac", "td3", "tqc")


def check_algorithm(name: str) -> str:
    """Returns the name when it is one of `ALGORITHMS`, whatever its case.

    Raises:
        InvalidConfig: another name; of an algorithm for continuous actions the message says that this is why.

    >>> check_algorithm("PPO")
    'ppo'
    >>> check_algorithm("sac")
    Traceback (most recent call last):
    ...
    policytrim_gym.errors.InvalidConfig: algo must take Discrete actions, since a horizon is one of a few; 'sac' takes continuous ones only.
    Those that can: a2c, dqn, ppo, qrdqn
    """
    if name.lower() in ALGORITHMS:
        return name.lower()
    can = f"Those that can: {', '.join(ALGORITHMS)}"
    if name.lower() in CONTINUOUS_ONLY:
        raise InvalidConfig(f"algo must take Discrete actions, since a horizon is one of a few; {name!r} takes continuous ones only. {can}")
    raise InvalidConfig(f"algo must be an algorithm that takes Discrete actions, got {name!r}. {can}")


def algorithm_class(name: str) -> type[BaseAlgorithm]:
    """Returns the class of an algorithm.

    Raises:
        InvalidConfig: a name that `check_algorithm` refuses.
        MissingExtra: its package is not installed.
    """
    module, class_name = _MODULE_AND_CLASS[check_algorithm(name)]
    try:
        found: type[BaseAlgorithm] = getattr(import_module(module), class_name)
    except ImportError as error:
        raise MissingExtra(f'{class_name} needs {module}: pip install "policytrim[train]"') from error
    return found


def algorithm_name(model: BaseAlgorithm) -> str:
    """Returns the name of a model's algorithm, also of a class derived from it; raises InvalidConfig as `check_algorithm` does."""
    names = [cls.__name__.lower() for cls in type(model).__mro__]
    return next((name for name in names if name in ALGORITHMS), None) or check_algorithm(names[0])
