"""Hyperparameters of the SB3 algorithms for horizon controllers: a file for each, and what a user changes of it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policytrim_gym.config import parse_yaml
from policytrim_gym.errors import InvalidConfig
from policytrim_gym.horizon_observation import ObservationLayout
from policytrim_gym.selectors.sb3_algorithms import algorithm_class, check_algorithm

FOLDER = Path(__file__).parent / "hyperparameters"
SET_BY_THE_TRAINING = ("self", "policy", "env", "seed", "device", "verbose", "tensorboard_log", "_init_setup_model")
SCHEDULES = ("learning_rate", "clip_range")


@dataclass(frozen=True)
class Hyperparameters:
    """What the constructor of an algorithm takes, and whether observations are normalised before.

    >>> hyperparameters = Hyperparameters.of("ppo", {"n_steps": 64})
    >>> hyperparameters.normalize, hyperparameters.arguments["n_steps"], hyperparameters.arguments["gamma"]
    (True, 64, 1.0)
    """

    normalize: bool
    arguments: dict[str, Any]

    @classmethod
    def of(cls, algo: str, changes: Mapping[str, Any], observation: ObservationLayout = "summary") -> Hyperparameters:
        """Returns those of hyperparameters/<algo>.yml with changes; "lin_1e-3" becomes a schedule that falls to 0, as in the RL zoo.

        SB3's replay buffer for Dict observations has no returns over several steps, so that DQN and QR-DQN go without them there.

        Args:
            algo: name of the algorithm.
            changes: in place of the file's.
            observation: layout of what the model sees.

        Raises:
            InvalidConfig: an unknown algorithm, or a change of what it does not have; the message lists what it has.
        """
        algo = check_algorithm(algo)
        values = parse_yaml((FOLDER / f"{algo}.yml").read_text(encoding="utf-8"))
        if observation == "dict" and "buffer_size" in values:
            values["n_steps"] = 1
        values.update(changes)
        allowed = ["normalize", *(name for name in inspect.signature(algorithm_class(algo)).parameters if name not in SET_BY_THE_TRAINING)]
        for name in values:
            if name not in allowed:
                raise InvalidConfig(f"unknown hyperparameter {name!r} of {algo}; known: {', '.join(sorted(allowed))}")
        normalize = values.pop("normalize", False)
        if not isinstance(normalize, bool):
            raise InvalidConfig(f"the hyperparameter normalize must be true or false, got {normalize!r}")
        for name in SCHEDULES:
            if isinstance(values.get(name), str):
                values[name] = _schedule(name, values[name])
        return cls(normalize, values)


def _schedule(name: str, text: str) -> Any:
    from stable_baselines3.common.utils import LinearSchedule

    kind, _, start = text.partition("_")
    try:
        if kind != "lin":
            raise ValueError
        return LinearSchedule(float(start), 0.0, 1.0)
    except ValueError as error:
        raise InvalidConfig(f'the hyperparameter {name} must be a number, or "lin_1e-3" for a linear fall to 0, got {text!r}') from error
