"""Behaviour cloning of a chunked policy from scripted demonstrations."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike

from policytrim_gym.config import from_mapping, to_mapping
from policytrim_gym.differences import first_difference
from policytrim_gym.errors import InvalidConfig, InvalidSpec, NoDemonstrations
from policytrim_gym.identity import comparable_env_id, comparable_kwargs
from policytrim_gym.policies.checkpoint_facts import CheckpointFacts, load_facts
from policytrim_gym.policies.model_card import write_facts
from policytrim_gym.policy import TrainableChunkPolicy
from policytrim_gym.progress import ProgressBar, write_line
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.rollouts.expert_episode import ExpertRunner
from policytrim_gym.run_folder import check_writable
from policytrim_gym.training.base_policies import MODELS, ActionFacts, check_model
from policytrim_gym.training.clone_config import CloneConfig
from policytrim_gym.training.demonstrations import DemonstrationSet, record_demonstrations
from policytrim_gym.training.imitation import chunk_targets, imitate


def clone_into(folder: str | os.PathLike[str], factory: EnvFactory, config: CloneConfig, num_workers: int = 2) -> CheckpointFacts:
    """Records demonstrations, trains on them and saves the checkpoint, showing how far it is; returns what the checkpoint knows.

    A checkpoint in the folder is replaced. What `env.unwrapped` says about its actions shapes the policy:
    `action_kinds`, `control_dt_s`, `action_origins` (see `StatePolicyConfig`), and `physical_action_units`, True where an action is in
    units such as rad, so that the policy learns on increments of a size that the demonstrations tell (see `motion_scale`).

    Args:
        folder: of the checkpoint.
        factory: of an environment that offers `tasks` and `make_expert`.
        config: of demonstrations and training.
        num_workers: processes that demonstrate.

    Raises:
        NoDemonstrations: the expert fails too often.
        InvalidSpec: the environment has no scripted expert, or no images for a model that needs them.
        MissingExtra: a package that the model needs is not installed.
        CannotWrite: the folder cannot be written into.
    """
    probe = ExpertRunner(factory, config.demonstrator, config.seed).env
    tasks = tuple(getattr(probe.unwrapped, "tasks", ()))
    actions = _action_facts(probe)
    check_model(config, probe, factory.name, tasks, actions)
    probe.close()
    config = config.for_tasks(len(tasks))
    assert config.demos_per_task is not None
    check_writable(folder)
    write_line(f"cloning {factory.name}, {', '.join(tasks) or 'no task'}, from the {config.demonstrator} expert")
    with ProgressBar(len(tasks), "task", "demonstrations") as bar:
        demos = record_demonstrations(
            factory,
            tasks,
            config.demonstrator,
            config.demos_per_task,
            config.seed,
            num_workers,
            lambda task: bar.advance(),
            MODELS[config.model].sees_images,
        )
    with ProgressBar(config.gradient_steps, "step", "cloning") as bar:

        def show(step: int, loss: float) -> None:
            if step % 100 == 0:
                bar.describe(f"cloning, loss {loss:.4f}")
            bar.advance()

        policy = clone(demos, config, actions.kinds, actions.control_dt_s, show, actions.origins, actions.range)
    facts = CheckpointFacts(
        config.execute_horizon,
        factory.id,
        dict(factory.kwargs),
        demos.summary(),
        to_mapping(config),
        tasks=tasks or None,
        control_dt_s=actions.control_dt_s,
        chunk_size=config.chunk_size,
    )
    policy.save_pretrained(str(folder))
    write_facts(folder, facts)
    return facts


def held_clone(folder: str | os.PathLike[str], factory: EnvFactory, config: CloneConfig) -> CheckpointFacts:
    """Returns the facts of a folder's checkpoint when it is the clone that `clone_into` would make.

    Args:
        folder: of the checkpoint.
        factory, config: as `clone_into` takes them.

    Raises:
        InvalidConfig: it is another clone, or none; the message names the first difference.
    """
    facts = load_facts(folder)
    if facts is None or facts.demonstrations is None or facts.evidence is not None:
        raise InvalidConfig(f"{folder} holds a checkpoint that is no clone; choose another folder")
    config = config.for_tasks(len(facts.demonstrations["tasks"]))
    # A folder from before a setting existed was made with its default.
    settings = {} if facts.settings is None else to_mapping(from_mapping(CloneConfig, facts.settings))
    difference = first_difference(
        {"env": comparable_env_id(facts.env), "env_kwargs": comparable_kwargs(facts.env_kwargs), **settings},
        {"env": comparable_env_id(factory.id), "env_kwargs": comparable_kwargs(factory.kwargs), **to_mapping(config)},
    )
    if difference is not None:
        raise InvalidConfig(f"{folder} holds a clone with other settings: {difference}; choose another folder")
    return facts


def clone(
    demos: DemonstrationSet,
    config: CloneConfig,
    action_kinds: tuple[str, ...] | None = None,
    control_dt_s: float | None = None,
    on_step: Callable[[int, float], None] | None = None,
    action_origins: tuple[int | None, ...] | None = None,
    action_range: ArrayLike | None = None,
) -> TrainableChunkPolicy:
    """Trains a policy of the configured model to predict chunks of the demonstrations.

    Args:
        demos: what to imitate.
        config: architecture and optimisation.
        action_kinds, control_dt_s: of the environment, kept in the policy's spec.
        on_step: called with the gradient step and its loss.
        action_origins: of the environment: which number of the state each action continues, see `StatePolicyConfig`.
        action_range: highest minus lowest action, (action_dim,), of actions in physical units: these are learnt at the scale of
            `motion_scale`. None: they are about 1 already, and are learnt as they are.

    Raises:
        NoDemonstrations: the set is empty.
    """
    episodes = demos.demonstrations
    if not episodes:
        raise NoDemonstrations("a clone needs at least one demonstration, got none")
    facts = ActionFacts(action_kinds, control_dt_s, action_origins, action_range)
    policy = MODELS[config.model].build(episodes, config, facts)
    observations = [observation for episode in episodes for observation in episode.observations()]
    targets = np.concatenate([chunk_targets(episode.actions, config.chunk_size) for episode in episodes])
    imitate(policy, observations, targets, config.gradient_steps, config.batch_size, config.learning_rate, config.seed, on_step)
    return policy


def _action_facts(env: gym.Env[Any, Any]) -> ActionFacts:
    """Returns what an environment says about its actions."""
    unwrapped, space = env.unwrapped, env.action_space
    kinds, control_dt_s, origins = (getattr(unwrapped, name, None) for name in ("action_kinds", "control_dt_s", "action_origins"))
    if not getattr(unwrapped, "physical_action_units", False):
        return ActionFacts(kinds, control_dt_s, origins)
    if not isinstance(space, gym.spaces.Box):
        raise InvalidSpec(f"an environment with physical_action_units must have a Box of actions, got {space}")
    return ActionFacts(kinds, control_dt_s, origins, space.high - space.low)
