"""Behaviour cloning of a chunked policy from scripted demonstrations."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike

from policytrim_gym.chunk import check_horizon
from policytrim_gym.config import to_mapping
from policytrim_gym.errors import InvalidConfig, InvalidSpec, NoDemonstrations
from policytrim_gym.policies.checkpoint_facts import CheckpointFacts
from policytrim_gym.policies.model_card import write_model_card
from policytrim_gym.policies.state_policy import StatePolicy, StatePolicyConfig
from policytrim_gym.policies.word_tokenizer import WordTokenizer
from policytrim_gym.progress import ProgressBar, write_line
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.rollouts.expert_episode import ExpertRunner
from policytrim_gym.run_folder import check_writable
from policytrim_gym.training.action_scale import motion_scale
from policytrim_gym.training.demonstrations import DemonstrationSet, record_demonstrations
from policytrim_gym.training.imitation import chunk_targets, imitate
from policytrim_gym.training.state_counts import spread_over_tasks

ALL_DEMOS, LEAST_DEMOS = 240, 40


@dataclass(frozen=True)
class CloneConfig:
    """How a base policy is cloned.

    Args:
        demonstrator: how the scripted expert moves: "slow-uneven" or "full-speed".
        demos_per_task: successful demonstrations of each task; None shares 240 out among the tasks, with at least 40 for each.
        chunk_size: H, actions of one prediction.
        execute_horizon: stock horizon, written into the checkpoint.
        hidden_size, num_layers: of the MLP.
        gradient_steps: of Adam.
        batch_size: samples in each.
        learning_rate: at the start; falls to 0 along a cosine.
        seed: of demonstrations, weights and batches.
    """

    demonstrator: str = "slow-uneven"
    demos_per_task: int | None = None
    chunk_size: int = 32
    execute_horizon: int = 8
    hidden_size: int = 512
    num_layers: int = 3
    gradient_steps: int = 4000
    batch_size: int = 256
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.demos_per_task is not None and self.demos_per_task < 1:
            raise InvalidConfig(f"demos_per_task must be at least 1, got {self.demos_per_task}")
        for name in ("chunk_size", "execute_horizon", "hidden_size", "num_layers", "gradient_steps", "batch_size"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise InvalidConfig(f"learning_rate must be above 0, got {self.learning_rate}")
        check_horizon(self.execute_horizon, self.chunk_size)  # before minutes of demonstrations

    def for_tasks(self, num_tasks: int) -> CloneConfig:
        """Returns the configuration with what it leaves open settled for so many tasks."""
        return replace(self, demos_per_task=spread_over_tasks(self.demos_per_task, ALL_DEMOS, num_tasks, LEAST_DEMOS))


def clone_into(folder: str | os.PathLike[str], factory: EnvFactory, config: CloneConfig, num_workers: int = 2) -> CheckpointFacts:
    """Records demonstrations, trains on them and saves the checkpoint, showing how far it is; returns what the checkpoint knows.

    The weights are written last: they make the folder complete. What `env.unwrapped` says about its actions shapes the policy:
    `action_kinds`, `control_dt_s`, `action_origins` (see `StatePolicyConfig`), and `physical_action_units`, True where an action is in
    units such as rad, so that the policy learns on increments of a size that the demonstrations tell (see `motion_scale`).

    Args:
        folder: of the checkpoint.
        factory: of an environment that offers `tasks` and `make_expert`.
        config: of demonstrations and training.
        num_workers: processes that demonstrate.

    Raises:
        NoDemonstrations: the expert fails too often.
        InvalidSpec: the environment has no scripted expert.
        CannotWrite: the folder cannot be written into.
    """
    probe = ExpertRunner(factory, config.demonstrator, config.seed).env
    tasks = tuple(getattr(probe.unwrapped, "tasks", ()))
    actions = _action_facts(probe)
    probe.close()
    config = config.for_tasks(len(tasks))
    assert config.demos_per_task is not None
    check_writable(folder)
    write_line(f"cloning {factory.name}, {', '.join(tasks) or 'no task'}, from the {config.demonstrator} expert")
    with ProgressBar(len(tasks), "task", "demonstrations") as bar:
        demos = record_demonstrations(
            factory, tasks, config.demonstrator, config.demos_per_task, config.seed, num_workers, lambda task: bar.advance()
        )
    with ProgressBar(config.gradient_steps, "step", "cloning") as bar:

        def show(step: int, loss: float) -> None:
            if step % 100 == 0:
                bar.describe(f"cloning, loss {loss:.4f}")
            bar.advance()

        policy = clone(demos, config, on_step=show, **actions)
    facts = CheckpointFacts(config.execute_horizon, factory.id, dict(factory.kwargs), demos.summary(), to_mapping(config))
    facts.save(folder)
    write_model_card(folder, facts)
    policy.save_pretrained(str(folder))
    return facts


def clone(
    demos: DemonstrationSet,
    config: CloneConfig,
    action_kinds: tuple[str, ...] | None = None,
    control_dt_s: float | None = None,
    on_step: Callable[[int, float], None] | None = None,
    action_origins: tuple[int | None, ...] | None = None,
    action_range: ArrayLike | None = None,
) -> StatePolicy:
    """Trains a StatePolicy by regression on chunks of the demonstrations.

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
    first = episodes[0]
    tokenizer = WordTokenizer.from_texts(episode.instruction for episode in episodes)
    architecture = StatePolicyConfig(
        state_size=first.states.shape[1],
        action_dim=first.actions.shape[1],
        chunk_size=config.chunk_size,
        execute_horizon=config.execute_horizon,
        action_kinds=action_kinds,
        control_dt_s=control_dt_s,
        hidden_size=config.hidden_size,
        num_layers=config.num_layers,
        action_origins=action_origins,
    )
    policy = StatePolicy(architecture, tokenizer, seed=config.seed)
    if action_range is not None:
        policy.set_action_scale(motion_scale(episodes, action_range, action_kinds, architecture.origins))
    states = np.concatenate([episode.states for episode in episodes])
    # A number that hardly varies in the demonstrations would be blown up by its own noise in closed loop.
    policy.set_normalisation(states.mean(axis=0), states.std(axis=0).clip(min=0.01))
    observations = [{"state": state, "instruction": episode.instruction} for episode in episodes for state in episode.states]
    targets = np.concatenate([chunk_targets(episode.actions, config.chunk_size) for episode in episodes])
    imitate(policy, observations, targets, config.gradient_steps, config.batch_size, config.learning_rate, config.seed, on_step)
    return policy


def _action_facts(env: gym.Env[Any, Any]) -> dict[str, Any]:
    """Returns what an environment says about its actions, as `clone` takes it."""
    unwrapped, space = env.unwrapped, env.action_space
    facts = {name: getattr(unwrapped, name, None) for name in ("action_kinds", "control_dt_s", "action_origins")}
    if getattr(unwrapped, "physical_action_units", False):
        if not isinstance(space, gym.spaces.Box):
            raise InvalidSpec(f"an environment with physical_action_units must have a Box of actions, got {space}")
        facts["action_range"] = space.high - space.low
    return facts
