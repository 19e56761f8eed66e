"""The policies that can be cloned: each of the demonstrations' sizes, with their statistics and random weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike

from policytrim_gym.errors import InvalidSpec, MissingExtra
from policytrim_gym.policies.norm_statistics import NormStatistics
from policytrim_gym.policies.pi0 import Pi0Policy
from policytrim_gym.policies.pi0_interface import Pi0Interface
from policytrim_gym.policies.pi0_small import small_pi0_policy
from policytrim_gym.policies.state_policy import StatePolicy, StatePolicyConfig
from policytrim_gym.policies.word_tokenizer import WordTokenizer
from policytrim_gym.policy import Explorer, TrainableChunkPolicy
from policytrim_gym.training.action_scale import motion_scale, scale_floor
from policytrim_gym.training.clone_config import CloneConfig
from policytrim_gym.training.demonstrations import Demonstration

LEAST_STD = 0.01
"""A number that hardly varies in the demonstrations would be blown up by its own noise in closed loop."""


class ActionFacts(NamedTuple):
    """What an environment says about its actions; `clone` explains them."""

    kinds: tuple[str, ...] | None = None
    control_dt_s: float | None = None
    origins: tuple[int | None, ...] | None = None
    range: ArrayLike | None = None


class BaseModel(NamedTuple):
    """A model that can be cloned."""

    explorer: Callable[[CloneConfig], Explorer]
    build: Callable[[tuple[Demonstration, ...], CloneConfig, ActionFacts], TrainableChunkPolicy]
    sees_images: bool = False
    needs: str | None = None  # a package of the extra "vla"


def check_model(config: CloneConfig, env: gym.Env[Any, Any], name: str, tasks: tuple[str, ...], actions: ActionFacts) -> None:
    """Refuses, before minutes of demonstrations, a model that is not installed, would have nothing to see, or does not fit what it sees.

    A model that sees images is built once, and asked once for each task, on what the environment shows at its start.

    Args:
        config: with the model.
        env: that will be demonstrated in; it is reset.
        name: of the environment, for messages.
        tasks: that will be demonstrated.
        actions: what the environment says about its actions.

    Raises:
        InvalidSpec: a model that sees images, and an environment without.
        InvalidConfig: images or sizes that the model cannot have.
        MissingObservation: an instruction that the model cannot read.
        MissingExtra: a package that the model needs is not installed.
    """
    model = MODELS[config.model]
    if model.needs is not None and find_spec(model.needs) is None:
        raise MissingExtra(f'model {config.model} needs {model.needs}: pip install "policytrim[vla]"')
    if not model.sees_images:
        return
    keys = list(getattr(env.observation_space, "spaces", {}))
    image_keys = [key for key in keys if key.startswith("image_")]
    if not image_keys:
        raise InvalidSpec(f"model {config.model} needs image_<camera> in the observations of {name} (observation=pixels), got {keys}")
    starts = tuple(_start(env, task, image_keys) for task in tasks)
    policy = model.build(starts, config, actions)
    policy.predict_action_chunks([start.observations()[0] for start in starts])


def _start(env: gym.Env[Any, Any], task: str, image_keys: Sequence[str]) -> Demonstration:
    """Returns a demonstration of standing still where the first one of a task will start."""
    observation, info = env.reset(options={"task": task, "split": "train", "initial_state": 0})
    rest = np.zeros((2, *(env.action_space.shape or ())), np.float32)
    twice = {key: np.stack([observation[key]] * 2) for key in ("state", *image_keys)}
    return Demonstration(task, info["instruction"], twice["state"], rest, {key: twice[key] for key in image_keys})


def _state_policy(episodes: tuple[Demonstration, ...], config: CloneConfig, actions: ActionFacts) -> StatePolicy:
    architecture = StatePolicyConfig(
        state_size=episodes[0].states.shape[1],
        action_dim=episodes[0].actions.shape[1],
        chunk_size=config.chunk_size,
        execute_horizon=config.execute_horizon,
        action_kinds=actions.kinds,
        control_dt_s=actions.control_dt_s,
        hidden_size=config.hidden_size,
        num_layers=config.num_layers,
        action_origins=actions.origins,
    )
    policy = StatePolicy(architecture, WordTokenizer.from_texts(episode.instruction for episode in episodes), seed=config.seed)
    if actions.range is not None:
        policy.set_action_scale(motion_scale(episodes, actions.range, actions.kinds, architecture.origins))
    states = np.concatenate([episode.states for episode in episodes])
    policy.set_normalisation(states.mean(axis=0), states.std(axis=0).clip(min=LEAST_STD))
    return policy


def _pi0_policy(episodes: tuple[Demonstration, ...], config: CloneConfig, actions: ActionFacts) -> Pi0Policy:
    """Unlike the state policy, it predicts joint targets as they are and not as increments from the measured joints."""
    interface = Pi0Interface(
        cameras=tuple(key.removeprefix("image_") for key in episodes[0].images),
        execute_horizon=config.execute_horizon,
        action_kinds=actions.kinds,
        control_dt_s=actions.control_dt_s,
        prompt_length=config.pi0.prompt_length,
        batch_block=config.pi0.batch_block,
    )
    least = LEAST_STD if actions.range is None else scale_floor(actions.range)
    return small_pi0_policy(
        state_size=episodes[0].states.shape[1],
        action_dim=episodes[0].actions.shape[1],
        texts=[episode.instruction for episode in episodes],
        chunk_size=config.chunk_size,
        seed=config.seed,
        config=config.pi0,
        interface=interface,
        state_statistics=_statistics(np.concatenate([episode.states for episode in episodes]), LEAST_STD),
        action_statistics=_statistics(np.concatenate([episode.actions for episode in episodes]), least),
    )


def _statistics(values: np.ndarray, least_std: ArrayLike) -> NormStatistics:
    """Returns mean and standard deviation of the rows, (N, n), the latter at least `least_std`."""
    std = np.maximum(values.std(axis=0, dtype=np.float64), least_std)
    return NormStatistics(tuple(values.mean(axis=0, dtype=np.float64).tolist()), tuple(std.tolist()))


def _tiny_vla(episodes: tuple[Demonstration, ...], config: CloneConfig, actions: ActionFacts) -> TrainableChunkPolicy:
    from policytrim_gym.policies.tiny_vla.building import random_tiny_vla  # transformers on use

    cameras = tuple(key.removeprefix("image_") for key in episodes[0].images)
    states = np.concatenate([episode.states for episode in episodes])
    policy = random_tiny_vla(
        [episode.instruction for episode in episodes],
        config.seed,
        cameras=cameras,
        image_size=next(iter(episodes[0].images.values())).shape[1],
        state_size=states.shape[1],
        action_dim=episodes[0].actions.shape[1],
        chunk_size=config.chunk_size,
        execute_horizon=config.execute_horizon,
        action_kinds=actions.kinds,
        action_origins=actions.origins,
        control_dt_s=actions.control_dt_s,
        **asdict(config.tiny_vla),
    )
    if actions.range is not None:
        policy.set_action_scale(motion_scale(episodes, actions.range, actions.kinds, policy.config.origins))
    policy.set_normalisation(states.mean(axis=0), states.std(axis=0).clip(min=LEAST_STD))
    return policy


MODELS = {
    "state": BaseModel(lambda config: StatePolicy, _state_policy),
    "tiny-vla": BaseModel(lambda config: config.tiny_vla, _tiny_vla, sees_images=True, needs="transformers"),
    "pi0": BaseModel(lambda config: Pi0Policy, _pi0_policy, sees_images=True, needs="transformers"),
}
"""By the name that `CloneConfig.model` has for them."""
