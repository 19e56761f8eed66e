"""How many initial states of a split a setting may ask for."""

from __future__ import annotations

from policytrim_gym.envs.initial_states import NUM_INITIAL_STATES, check_split
from policytrim_gym.errors import InvalidConfig


def spread_over_tasks(count: int | None, total: int, num_tasks: int, least: int) -> int:
    """Returns a setting for each task; one that was left open (None) shares `total` out among the tasks, with at least `least` for each.

    Fewer tasks need more of everything each: what a policy learns from is their sum.

    >>> [spread_over_tasks(None, 240, num_tasks, least=40) for num_tasks in (1, 2, 6, 50)]
    [240, 120, 40, 40]
    """
    return max(least, -(-total // max(1, num_tasks))) if count is None else count


def check_num_states(name: str, count: int, split: str) -> int:
    """Returns `count` when the split has as many initial states of each task.

    Args:
        name: of the setting.
        count: states of each task.
        split: that they are taken from.

    Raises:
        InvalidConfig: it has not.

    >>> check_num_states("test_states", 251, "test")
    Traceback (most recent call last):
    ...
    policytrim_gym.errors.InvalidConfig: test_states must be in 1..250 (initial states of a task in the test split), got 251
    """
    available = NUM_INITIAL_STATES[check_split(split)]
    if not 1 <= count <= available:
        raise InvalidConfig(f"{name} must be in 1..{available} (initial states of a task in the {split} split), got {count}")
    return count
