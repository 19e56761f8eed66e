"""`selector.json`: what an SB3 archive does not say of the controller in it, and what it may be used with."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box

from policytrim_gym.config import check_fields, from_mapping, to_mapping
from policytrim_gym.errors import CorruptCheckpoint, InvalidConfig, InvalidSpec
from policytrim_gym.files import write_json_atomic
from policytrim_gym.horizon_observation import HorizonObservation, ObservationLayout
from policytrim_gym.identity import plain_kwargs
from policytrim_gym.replan import HorizonMenu
from policytrim_gym.selectors.policy_fingerprint import PolicyFingerprint
from policytrim_gym.selectors.sb3_algorithms import check_algorithm

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

FILE_NAME = "selector.json"
SCHEMA = "policytrim.selector/1"


@dataclass(frozen=True)
class FeatureSpace:
    """Shape and type of one array of the environment's observation.

    >>> FeatureSpace.of(Box(-1.0, 1.0, (39,), np.float32))
    FeatureSpace(shape=(39,), dtype='float32')
    """

    shape: tuple[int, ...]
    dtype: str

    @classmethod
    def of(cls, box: gym.Space[Any]) -> FeatureSpace:
        """Returns the description of a Box."""
        return cls(tuple(box.shape or ()), str(box.dtype))

    @property
    def box(self) -> Box:
        """A Box of this shape and type; uint8 keeps the bounds by which SB3 knows an image."""
        is_image = self.dtype == "uint8"
        return Box(0 if is_image else -np.inf, 255 if is_image else np.inf, self.shape, np.dtype(self.dtype).type)


@dataclass(frozen=True)
class SelectorFacts:
    """What a learned selector is, beside the weights of its model.

    Args:
        algo: name of the SB3 algorithm.
        horizons, playback_rates: that the model's actions stand for, as `HorizonMenu` numbers them.
        observation: layout of what the model sees, see `HorizonObservation`.
        instructions: that the model tells apart, in the order of its one-hot.
        features: arrays of the environment's observation; the key is `state` for a plain Box.
        is_mapping: whether the environment's observation is a Dict.
        policy: whose chunks it was trained on.
        env, env_kwargs: where; for information, since a selector may be used in another environment of the same observations.
        evidence: validation of the model, and whether it reached the success floor; None when it was not trained here.

    Raises:
        InvalidConfig, InvalidHorizon, InvalidSpec: facts that contradict each other.

    >>> features = {"state": FeatureSpace((3,), "float32")}
    >>> facts = SelectorFacts("ppo", (4, 8), (1.0,), "features", (), features, is_mapping=False, policy=PolicyFingerprint(8, 1))
    >>> facts.layout().space.shape, len(facts.menu())
    ((4,), 2)
    """

    algo: str
    horizons: tuple[int, ...]
    playback_rates: tuple[float, ...]
    observation: ObservationLayout
    instructions: tuple[str, ...]
    features: dict[str, FeatureSpace]
    is_mapping: bool
    policy: PolicyFingerprint
    env: str | None = None
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    evidence: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        check_algorithm(self.algo)
        if not self.features or (not self.is_mapping and list(self.features) != ["state"]):
            raise InvalidSpec(f'features must name the arrays of a Dict, or be "state" alone for a Box, got {sorted(self.features)}')
        self.menu()
        self.layout()

    @classmethod
    def of(cls, env: gym.Env[Any, Any] | VecEnv, algo: str, policy_uri: str | None) -> SelectorFacts:
        """Returns the facts of a model that was trained in an environment with `ControlHorizon` or `VecControlHorizon` in it.

        Args:
            env: one of the two, or what is wrapped around it.
            algo: name of the algorithm.
            policy_uri: that the wrapper's policy was loaded from; None when it was made in the program.

        Raises:
            InvalidSpec: neither is inside.
        """
        control: Any = env
        while not hasattr(control, "observation_layout"):
            if not isinstance(control, gym.Wrapper):
                raise InvalidSpec(f"env must be ControlHorizon or VecControlHorizon, or a wrapper around one, got {env}")
            control = control.env
        space = control.observation_layout.source
        spec = control.unwrapped.spec if isinstance(control, gym.Env) else None
        boxes = dict(space.spaces) if isinstance(space, gym.spaces.Dict) else {"state": space}
        return cls(
            algo=algo,
            horizons=control.menu.horizons,
            playback_rates=control.menu.playback_rates,
            observation=control.observation_layout.layout,
            instructions=control.observation_layout.instructions,
            features={key: FeatureSpace.of(box) for key, box in boxes.items()},
            is_mapping=isinstance(space, gym.spaces.Dict),
            policy=PolicyFingerprint.of(control.policy.spec, policy_uri),
            env=None if spec is None else spec.id,
            env_kwargs={} if spec is None else plain_kwargs(spec.kwargs),
        )

    def menu(self) -> HorizonMenu:
        """Returns what the model's actions stand for."""
        return HorizonMenu(self.horizons, self.playback_rates, self.policy.spec)

    def layout(self) -> HorizonObservation:
        """Returns what builds the model's observation."""
        boxes: dict[str, gym.Space[Any]] = {key: feature.box for key, feature in self.features.items()}
        space = gym.spaces.Dict(boxes) if self.is_mapping else boxes["state"]
        chunk_shape = (self.policy.chunk_size, self.policy.action_dim)
        return HorizonObservation(space, chunk_shape, self.observation, self.horizons, self.instructions)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes selector.json; raises CannotWrite, and then what stood there is untouched."""
        write_json_atomic(Path(folder) / FILE_NAME, {"schema": SCHEMA, **to_mapping(self)})

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> SelectorFacts:
        """Reads selector.json.

        Raises:
            CorruptCheckpoint: missing, not JSON, of another schema, or with facts that contradict each other; the message names the file.
        """
        path = Path(folder) / FILE_NAME
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            schema = values.pop("schema", None)
            if schema != SCHEMA:
                raise InvalidConfig(f"schema must be {SCHEMA!r}, got {schema!r}")
            return from_mapping(cls, values)
        except FileNotFoundError as error:
            raise CorruptCheckpoint(f"{path} is missing: without it nobody knows which horizons the model's actions stand for") from error
        except (OSError, ValueError, TypeError, AttributeError) as error:  # our own errors of a bad value are ValueErrors
            raise CorruptCheckpoint(f"{path} is not a readable selector file: {error}") from error
