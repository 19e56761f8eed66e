"""What a policy was proven at, and what of the way it is run now was not. Plain values without torch: a robot's node can ask too."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType
from typing import Any

from policytrim_gym.config import check_fields
from policytrim_gym.errors import InvalidConfig, PolicyTrimWarning
from policytrim_gym.identity import comparable_env_id, plain_kwargs

NOT_COMPARED = ("task", "tasks", "max_episode_steps", "render_mode")
"""Arguments of an environment that leave its physics alone; the tasks are compared by their names."""

WIDEST_INTERVAL = 0.3
"""Of a success rate that proves anything: 10 successes of 10 are within it, 3 of 3 are not."""


class UnprovenSetting(PolicyTrimWarning):
    """A checkpoint is run otherwise than it was proven; the message names the proven and the present value."""


@dataclass(frozen=True)
class RunSetting:
    """Where and how a policy is run. None is not known or not fixed, and is not compared.

    Args:
        env: Gymnasium id.
        env_kwargs: of that environment.
        tasks: their names.
        control_dt_s: time between two actions [s].
        chunk_size: H, actions of one prediction.
        execute_horizon: h, how many of them run before the policy is asked again.
        inference_delay_steps: actions that run while the policy infers.
        playback_rate: 2.0 plays a chunk in half the steps.

    Raises:
        InvalidConfig: a field of another type.
    """

    env: str | None = None
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] | None = None
    control_dt_s: float | None = None
    chunk_size: int | None = None
    execute_horizon: int | None = None
    inference_delay_steps: int | None = None
    playback_rate: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "env_kwargs", plain_kwargs(self.env_kwargs))  # as a file gives them: a tuple is a list there
        check_fields(self)

    @property
    def task_names(self) -> tuple[str, ...] | None:
        """The tasks, or what the arguments of the environment say of them."""
        if self.tasks is not None:
            return self.tasks
        named = self.env_kwargs.get("tasks", self.env_kwargs.get("task"))
        return (named,) if isinstance(named, str) else None if named is None else tuple(map(str, named))


@dataclass(frozen=True)
class Proof:
    """What a policy did on test states at one setting.

    Args:
        setting: where and how it was run.
        num_episodes: in all, from the first test states of each task.
        seed: of the evaluation; without initial states the episodes' seeds start from it.
        success_rate, success_rate_ci95: with Wilson's interval.
        steps_mean_success, num_replans_mean_success: means over successes; None without one.
        proven_on: the day in UTC, such as "2026-11-26".
        weights_sha256: of the weights that were run.

    Raises:
        InvalidConfig: a field of another type, or what is no date.
    """

    setting: RunSetting
    num_episodes: int
    seed: int
    success_rate: float
    success_rate_ci95: tuple[float, float]
    steps_mean_success: float | None
    num_replans_mean_success: float | None
    proven_on: str
    weights_sha256: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        check_date("proven_on", self.proven_on)

    def shows(self, success_rate: float) -> bool:
        """Returns whether the episodes are many enough to say something, and do not say that the success is below `success_rate`."""
        low, high = self.success_rate_ci95
        return high - low <= WIDEST_INTERVAL and high >= success_rate


def unproven_settings(
    proven: Sequence[RunSetting], present: RunSetting, env_defaults: Mapping[str, Any] = MappingProxyType({})
) -> tuple[str, ...]:
    """Returns one line for each way in which a policy is run otherwise than it was proven; nothing where it is run as proven.

    Fewer tasks and a smaller horizon than proven are no difference; neither is an argument of the environment that only one of the two
    settings gives, unless its default is known.

    Args:
        proven: settings with a proof; the one nearest to `present` is compared. None at all, and nothing is said.
        present: how it is run now.
        env_defaults: what the present environment takes for arguments that are not given.

    >>> proven = RunSetting("A-v0", tasks=("reach", "push"), control_dt_s=0.05, execute_horizon=24, inference_delay_steps=0)
    >>> unproven_settings([proven], RunSetting("A-v0", tasks=("push",), control_dt_s=0.05, execute_horizon=16))
    ()
    >>> unproven_settings([proven], RunSetting(execute_horizon=32, inference_delay_steps=3))
    ('inference_delay_steps is 3, proven with 0', 'execute_horizon is 32, proven up to 24')
    """
    return min((tuple(_differences(setting, present, env_defaults)) for setting in proven), key=len, default=())


def utc_date() -> str:
    """Returns today in UTC as an ISO date."""
    return time.strftime("%Y-%m-%d", time.gmtime())


def check_date(name: str, value: str) -> None:
    """Raises InvalidConfig unless `value` is an ISO date."""
    try:
        date.fromisoformat(value)
    except ValueError as error:
        raise InvalidConfig(f"{name} must be an ISO date such as 2026-11-26, got {value!r}") from error


def _differences(proven: RunSetting, present: RunSetting, env_defaults: Mapping[str, Any]) -> list[str]:
    lines = _env_differences(proven, present, env_defaults)
    before, now = proven.control_dt_s, present.control_dt_s
    if before is not None and now is not None and not math.isclose(before, now, rel_tol=1e-6):
        lines.append(f"control_dt_s is {now:g} s, proven with {before:g} s")
    for name in ("chunk_size", "inference_delay_steps", "playback_rate"):
        before, now = getattr(proven, name), getattr(present, name)
        if None not in (before, now) and before != now:
            lines.append(f"{name} is {now:g}, proven with {before:g}")
    if None not in (proven.execute_horizon, present.execute_horizon) and present.execute_horizon > proven.execute_horizon:  # type: ignore[operator]
        lines.append(f"execute_horizon is {present.execute_horizon}, proven up to {proven.execute_horizon}")
    return lines


def _env_differences(proven: RunSetting, present: RunSetting, env_defaults: Mapping[str, Any]) -> list[str]:
    """Tasks and arguments belong to their environment: in another one, that is the one line to say."""
    ids = [comparable_env_id(setting.env) for setting in (proven, present)]
    if None not in ids and ids[0] != ids[1]:
        return [f"env is {present.env}, proven in {proven.env}"]
    lines = []
    known, wanted = proven.task_names, present.task_names
    if known is not None and wanted is not None and (new := [task for task in wanted if task not in known]):
        lines.append(f"tasks include {', '.join(new)}, proven on {', '.join(known)}")
    before, now = ({**env_defaults, **setting.env_kwargs} for setting in (proven, present))
    given = proven.env_kwargs.keys() | present.env_kwargs.keys()
    for key in sorted((given & before.keys() & now.keys()) - set(NOT_COMPARED)):
        if before[key] != now[key]:
            lines.append(f"env's {key} is {now[key]!r}, proven with {before[key]!r}")
    return lines
