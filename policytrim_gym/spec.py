"""What a policy predicts and needs, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from policytrim_gym.chunk import ACTION_KINDS, check_horizon
from policytrim_gym.errors import InvalidSpec, MissingObservation


@dataclass(frozen=True)
class PolicySpec:
    """Sizes of a policy's chunks and what an observation must hold.

    Args:
        chunk_size: H, actions predicted by one inference.
        action_dim: numbers in one action.
        execute_horizon: stock or proven number of actions to run before asking again; None means chunk_size.
        control_dt_s: seconds between two actions that the policy was trained for, or None when unknown.
        observation_shapes: shape of each array that an observation must hold; an entry None in a shape fits any length.
        needs_instruction: whether `observation["instruction"]` must be a string.
        action_kinds: "delta" or "position" for each dimension, (action_dim,); None when unknown (then it cannot be played faster).

    Raises:
        InvalidSpec, InvalidHorizon: a size below 1, a wrong kind, a horizon outside 1..chunk_size.

    >>> spec = PolicySpec(chunk_size=32, action_dim=4, observation_shapes={"state": (39,)})
    >>> spec.execute_horizon
    32
    >>> spec.check_observation({"state": [0.0] * 38})
    Traceback (most recent call last):
    ...
    policytrim_gym.errors.MissingObservation: observation["state"] must have shape (39,), got (38,)
    """

    chunk_size: int
    action_dim: int
    execute_horizon: int | None = None
    control_dt_s: float | None = None
    observation_shapes: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    needs_instruction: bool = False
    action_kinds: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("chunk_size", "action_dim"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise InvalidSpec(f"{name} must be an integer of at least 1, got {value!r}")
        horizon = self.chunk_size if self.execute_horizon is None else self.execute_horizon
        object.__setattr__(self, "execute_horizon", check_horizon(horizon, self.chunk_size))
        if self.control_dt_s is not None and not (np.isfinite(self.control_dt_s) and self.control_dt_s > 0):
            raise InvalidSpec(f"control_dt_s must be above 0 or None, got {self.control_dt_s}")
        if self.action_kinds is not None:
            kinds = tuple(self.action_kinds)
            if len(kinds) != self.action_dim or any(kind not in ACTION_KINDS for kind in kinds):
                raise InvalidSpec(f"action_kinds must be {self.action_dim} of {ACTION_KINDS}, got {kinds}")
            object.__setattr__(self, "action_kinds", kinds)
        shapes = {key: tuple(shape) for key, shape in self.observation_shapes.items()}
        object.__setattr__(self, "observation_shapes", shapes)

    @property
    def horizon(self) -> int:
        """The execute horizon as a plain int (the field also accepts None when the spec is made)."""
        assert self.execute_horizon is not None
        return self.execute_horizon

    def with_horizon(self, execute_horizon: int) -> PolicySpec:
        """Returns a copy with another execute horizon."""
        return replace(self, execute_horizon=execute_horizon)

    def check_observation(self, observation: Mapping[str, Any]) -> None:
        """Raises MissingObservation, naming the key and shape, unless `observation` holds what the policy needs."""
        if not isinstance(observation, Mapping):
            raise MissingObservation(
                f"an observation must be a dict with {sorted(self.observation_shapes)}, got {type(observation).__name__}"
            )
        for key, shape in self.observation_shapes.items():
            if key not in observation:
                raise MissingObservation(f'observation lacks the key "{key}" that the policy needs; it has {sorted(map(str, observation))}')
            try:
                actual = np.shape(observation[key])
            except ValueError:
                raise MissingObservation(f'observation["{key}"] must have shape {shape}, got rows of several lengths') from None
            fits = len(actual) == len(shape) and all(want is None or want == got for want, got in zip(shape, actual))
            if not fits:
                raise MissingObservation(f'observation["{key}"] must have shape {shape}, got {actual}')
            value = np.asarray(observation[key])
            if value.dtype.kind not in "biuf":
                raise MissingObservation(f'observation["{key}"] must be numbers, got {value.dtype}')
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise MissingObservation(f'observation["{key}"] must be finite, got {value[~np.isfinite(value)][0]}')
        if self.needs_instruction and not isinstance(observation.get("instruction"), str):
            got = observation.get("instruction")
            raise MissingObservation(f'observation["instruction"] must be a string (an environment has it in its info), got {got!r}')
