"""`n_action_steps` of a config.json: the execute horizon by the name that LeRobot gives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policytrim_gym.errors import InvalidConfig

ACTION_STEPS = "n_action_steps"


def with_action_steps(config: Mapping[str, Any], execute_horizon: int) -> dict[str, Any]:
    """Returns the values of a config.json with the horizon to run.

    >>> with_action_steps({"model_type": "pi0"}, 24)
    {'model_type': 'pi0', 'n_action_steps': 24}
    """
    return {**config, ACTION_STEPS: execute_horizon}


def check_action_steps(action_steps: object, execute_horizon: int) -> None:
    """Raises InvalidConfig when a config.json names another horizon than the rest of its checkpoint; None is that of an older one."""
    if action_steps is not None and action_steps != execute_horizon:
        raise InvalidConfig(f"{ACTION_STEPS} of config.json must be the execute_horizon {execute_horizon}, got {action_steps!r}")


def lerobot_option(execute_horizon: int) -> str:
    """Returns the option by which LeRobot's commands run a policy at this horizon.

    >>> lerobot_option(24)
    '--policy.n_action_steps=24'
    """
    return f"--policy.{ACTION_STEPS}={execute_horizon}"
