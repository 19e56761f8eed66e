"""A selector that a learner trained: a Stable-Baselines3 model, and what is known of it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Discrete

from policytrim_gym.errors import CorruptCheckpoint, MismatchedSelector, MissingObservation, UnknownSelector
from policytrim_gym.files import write_atomic_with
from policytrim_gym.policy import ChunkPolicy
from policytrim_gym.replan import HorizonChoice, ReplanContext
from policytrim_gym.selectors.observation_normalizer import ObservationNormalizer
from policytrim_gym.selectors.sb3_algorithms import algorithm_class, algorithm_name
from policytrim_gym.selectors.selector import HorizonSelector
from policytrim_gym.selectors.selector_file import SelectorFacts
from policytrim_gym.spec import PolicySpec

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv

MODEL_FILE = "model.zip"


class LearnedSelector(HorizonSelector):
    """Asks an SB3 model, with the observation that `ControlHorizon` showed it in training; the most likely action, never a drawn one.

    Observations are normalised as in training: by the statistics in the archive, or while the model still trains by those of its
    `VecNormalize`.

    Args:
        model: of an algorithm in `sb3_algorithms.ALGORITHMS`.
        facts: what it was trained on.
        normalizer: of its observations; None takes that of the model's own environment, where it has one.

    Raises:
        MismatchedSelector: the model has other actions or another observation than the facts say.

    >>> from policytrim_gym.policy import CallablePolicy
    >>> from policytrim_gym.wrappers.control_horizon import ControlHorizon
    >>> from stable_baselines3 import PPO
    >>> policy = CallablePolicy(lambda observation: np.zeros((8, 1)), PolicySpec(chunk_size=8, action_dim=1))
    >>> env = ControlHorizon(gym.make("Pendulum-v1"), policy, horizons=(2, 8), observation="features")
    >>> model = PPO("MlpPolicy", env, n_steps=8, batch_size=8, device="cpu", seed=0)
    >>> selector = LearnedSelector(model, SelectorFacts.of(env, "ppo", policy_uri=None))
    >>> selector.name, selector.longest_horizon
    ('ppo h=2,8', 8)
    >>> context = ReplanContext({"state": np.zeros(3, np.float32)}, policy.predict_action_chunk({}))
    >>> selector.select([context])[0].execute_horizon in (2, 8)
    True
    """

    def __init__(self, model: BaseAlgorithm, facts: SelectorFacts, normalizer: ObservationNormalizer | None = None) -> None:
        self.facts = facts
        self._model = model
        self._menu = facts.menu()
        self._layout = facts.layout()
        vec_normalize = model.get_vec_normalize_env()
        self._normalize = normalizer or (vec_normalize.normalize_obs if vec_normalize is not None else lambda batch: batch)
        space = model.action_space
        if not isinstance(space, Discrete) or space.n != len(self._menu):
            told = f"horizons {facts.horizons} and playback_rates {facts.playback_rates}"
            raise MismatchedSelector(f"the model's actions are {space}, but its selector file tells of {len(self._menu)}: {told}")
        if _shapes(model.observation_space) != _shapes(self._layout.space):
            raise MismatchedSelector(f"the model observes {model.observation_space}, its selector file describes {self._layout.space}")

    @classmethod
    def load(cls, path: str | os.PathLike[str], policy: ChunkPolicy | str) -> LearnedSelector:
        """Reads what `save_selector` wrote, for a policy.

        An SB3 archive holds cloudpickle, so that loading it can run code: load only what you trained or what comes from someone you
        trust. A URL is refused for that reason.

        Args:
            path: the folder, or the model.zip in it.
            policy: that it shall choose for: a URI, whose weights are compared with those of the training, or a live policy, of which
                only the spec can be compared.

        Raises:
            UnknownSelector: a URL, or nothing there.
            CorruptCheckpoint: selector.json or model.zip is missing or damaged.
            MismatchedSelector: the selector was trained for another policy, or model and selector.json do not belong together.
        """
        archive = _archive_of(path)
        facts = SelectorFacts.load(archive.parent)
        if isinstance(policy, str):
            facts.policy.check_uri(policy)
        else:
            facts.policy.check_spec(policy.spec)
        if not archive.is_file():
            raise CorruptCheckpoint(f"{archive} is missing")
        normalizer = ObservationNormalizer.read(archive)
        return cls(load_model(archive, facts.algo), facts, normalizer)

    @property
    def name(self) -> str:
        rates = "" if self.facts.playback_rates == (1.0,) else " x" + ",".join(f"{rate:g}" for rate in self.facts.playback_rates)
        return f"{self.facts.algo} h=" + ",".join(str(horizon) for horizon in self.facts.horizons) + rates

    @property
    def choices(self) -> tuple[HorizonChoice, ...]:
        return self._menu.choices

    def check_policy(self, spec: PolicySpec) -> None:
        """Raises MismatchedSelector unless the spec is that of the policy that it was trained for."""
        self.facts.policy.check_spec(spec)

    def select(self, contexts: Sequence[ReplanContext]) -> list[HorizonChoice]:
        if not contexts:
            return []
        for context in contexts:
            self._check_features(context.observation)
        built = [self._layout.build(context) for context in contexts]
        batch = {key: np.stack([one[key] for one in built]) for key in built[0]} if isinstance(built[0], dict) else np.stack(built)
        actions, _ = self._model.predict(self._normalize(batch), deterministic=True)
        return [self._menu.unpack(action) for action in actions]

    def _check_features(self, observation: Mapping[str, Any]) -> None:
        for key, feature in self.facts.features.items():
            if key not in observation or np.shape(observation[key]) != feature.shape:
                got = f"shape {np.shape(observation[key])}" if key in observation else f"the keys {sorted(observation)}"
                raise MissingObservation(f'the selector needs observation["{key}"] of shape {feature.shape}, got {got}')


def save_selector(
    model: BaseAlgorithm, folder: str | os.PathLike[str], env: gym.Env[Any, Any] | VecEnv, policy_uri: str | None = None
) -> None:
    """Writes model.zip and selector.json, each whole or not at all, so that `LearnedSelector.load` and `policytrim evaluate` take them.

    Args:
        model: trained on `env`, or on copies of it.
        folder: to write into.
        env: a `ControlHorizon` or `VecControlHorizon`, or a wrapper around it, with the settings of the training.
        policy_uri: that the policy was loaded from; None when it was made in the program.

    Raises:
        InvalidConfig: an algorithm that cannot take Discrete.
        MismatchedSelector: the model was not trained on such an environment.
        CannotWrite: the disk is full or not writable.
    """
    write_selector(model, folder, SelectorFacts.of(env, algorithm_name(model), policy_uri))


def write_selector(model: BaseAlgorithm, folder: str | os.PathLike[str], facts: SelectorFacts) -> None:
    """As `save_selector`, for who has the facts already. The archive comes first: facts without a model are of no use."""
    LearnedSelector(model, facts)  # what cannot be loaded is not written
    write_model(model, Path(folder) / MODEL_FILE)
    facts.save(folder)


def write_model(model: BaseAlgorithm, archive: Path) -> None:
    """Writes an SB3 archive with the statistics of its observations, whole or not at all; its name must end in .zip."""
    normalizer = ObservationNormalizer.of(model.get_vec_normalize_env())

    def write(temporary: str) -> None:
        model.save(temporary)
        if normalizer is not None:
            normalizer.add_to(temporary)

    write_atomic_with(archive, write)


def load_model(archive: Path, algo: str, **arguments: Any) -> BaseAlgorithm:
    """Reads an SB3 archive onto the CPU, where small networks answer fastest; raises CorruptCheckpoint when it cannot be read.

    Args:
        archive: the file. It holds cloudpickle: loading can run code.
        algo: name of the algorithm.
        arguments: further ones of the algorithm's own `load`.
    """
    try:
        with warnings.catch_warnings():
            # Of its own replay buffer for several steps SB3 warns, when it reads it back, that someone else has chosen it.
            warnings.filterwarnings("ignore", message="`n_steps=")
            return algorithm_class(algo).load(archive, device="cpu", **arguments)
    except Exception as error:  # zip, pickle, torch and SB3 raise many types for a damaged archive
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CorruptCheckpoint(f"{archive} is not a readable {algo} model: {reason}") from error


def _archive_of(path: str | os.PathLike[str]) -> Path:
    if "://" in str(path):
        raise UnknownSelector(
            f"{path}: a selector is not loaded from a URL, because SB3 archives hold cloudpickle, which can run code when it is read; "
            "expected a folder or model.zip on this machine, from someone you trust"
        )
    found = Path(path)
    if found.is_dir():
        return found / MODEL_FILE
    if found.suffix != ".zip" or not found.parent.is_dir():
        raise UnknownSelector(f"{path}: no such selector; expected a folder with model.zip and selector.json, or that model.zip")
    return found


def _shapes(space: gym.Space[Any]) -> dict[str, list[int]]:
    """Returns the size of each array; dimensions sorted, since SB3 puts the channels of an image first."""
    boxes = dict(space.spaces) if isinstance(space, gym.spaces.Dict) else {"": space}
    return {key: sorted(box.shape or ()) for key, box in boxes.items()}
