"""How a worker process makes its environments."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import cloudpickle
import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, load_env_creator

from policytrim_gym.errors import InvalidSpec, PolicyTrimError

EnvLike = str | EnvSpec | Callable[[], gym.Env[Any, Any]]


@dataclass(frozen=True)
class EnvFactory:
    """Makes an environment from an id, a spec or a function; can be sent to another process.

    Args:
        env: a Gymnasium id ("module:Name-v0" imports the module first), an `EnvSpec`, or a function without arguments.
        kwargs: for `gymnasium.make`; only with an id.

    Raises:
        InvalidSpec: of another type, or kwargs with a function; when it is called, kwargs that the environment does not take.
    """

    env: EnvLike
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.env, gym.Env):
            raise InvalidSpec("env must be an id, a spec or a function: each worker makes its own environment, a live one cannot be shared")
        if not (isinstance(self.env, (str, EnvSpec)) or callable(self.env)):
            raise InvalidSpec(f"env must be a Gymnasium id, an EnvSpec or a function that makes one, got {type(self.env).__name__}")
        if self.kwargs and not isinstance(self.env, str):
            raise InvalidSpec("env kwargs need an env id; put them into the spec or the function")

    @property
    def name(self) -> str:
        """The id for reports."""
        if isinstance(self.env, str):
            return self.env.rpartition(":")[2]
        return self.env.id if isinstance(self.env, EnvSpec) else getattr(self.env, "__name__", "env")

    @property
    def id(self) -> str:
        """What `gymnasium.make` takes to make it again, with the module to import first where one was given."""
        return self.env if isinstance(self.env, str) else self.name

    def defaults(self) -> dict[str, Any]:
        """Returns what an environment with an id takes for the arguments that `kwargs` leaves out, as far as its class says."""
        spec: object = self.env
        if isinstance(self.env, str):
            module = self.env.rpartition(":")[0]
            if module:
                importlib.import_module(module)
            spec = gym.spec(self.name)
        if not isinstance(spec, EnvSpec) or spec.entry_point is None:
            return {}
        creator = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
        parameters = inspect.signature(creator).parameters.values()
        return {**{each.name: each.default for each in parameters if each.default is not each.empty}, **spec.kwargs}

    def __call__(self) -> gym.Env[Any, Any]:
        if isinstance(self.env, str):
            return self._make_from_id(self.env)
        if isinstance(self.env, EnvSpec):
            return gym.make(self.env, disable_env_checker=True)
        return self.env()

    def _make_from_id(self, env_id: str) -> gym.Env[Any, Any]:
        try:
            # The passive checker inspects every step of every rollout; `check_env` in the tests does it once.
            return gym.make(env_id, disable_env_checker=True, **self.kwargs)
        except PolicyTrimError:
            raise
        except (TypeError, ValueError) as error:  # an argument that the environment does not know, or whose value it refuses
            if not self.kwargs:
                raise
            given = ", ".join(f"{key}={value!r}" for key, value in self.kwargs.items())
            raise InvalidSpec(f"{self.name} cannot be made with {given}: {error}") from error

    def __getstate__(self) -> bytes:
        # Functions and lambdas of a script need cloudpickle to reach a spawned process.
        return cloudpickle.dumps((self.env, dict(self.kwargs)))

    def __setstate__(self, state: bytes) -> None:
        env, kwargs = cloudpickle.loads(state)
        object.__setattr__(self, "env", env)
        object.__setattr__(self, "kwargs", kwargs)


def as_factory(env: EnvLike | EnvFactory) -> EnvFactory:
    """Returns `env` as an EnvFactory."""
    return env if isinstance(env, EnvFactory) else EnvFactory(env)
