"""What a trimmed checkpoint knows beside its weights: where it comes from, and what proves its horizon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from policytrim_gym.config import to_mapping
from policytrim_gym.identity import plain_kwargs
from policytrim_gym.policies.checkpoint_facts import CheckpointFacts
from policytrim_gym.policies.model_card import write_model_card
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.training.train_state import TrainState
from policytrim_gym.training.trim_config import TrimConfig


def trimmed_facts(
    factory: EnvFactory,
    config: TrimConfig,
    state: TrainState,
    trimmed_from: str | None,
    demonstrations: dict[str, Any] | None,
    horizon: int,
) -> CheckpointFacts:
    """Returns the facts of a training's best checkpoint so far.

    Args:
        factory: of the environment that it was trained in.
        config: of the training.
        state: where it stands.
        trimmed_from: URI of the entering policy.
        demonstrations: that this one was cloned from.
        horizon: of the policy, before one was validated.
    """
    best = state.best_validation
    evidence = {
        "trimmed_from": trimmed_from,
        "finished": state.phase == "done",
        "validation": best,
        "success_floor": state.success_floor,
        "timesteps": state.num_timesteps,
        "seconds": state.seconds,
    }
    return CheckpointFacts(
        execute_horizon=int(best.get("execute_horizon", horizon)),
        env=factory.id,
        env_kwargs=plain_kwargs(factory.kwargs),
        demonstrations=demonstrations,
        settings=to_mapping(config),
        evidence=evidence,
    )


def stage1_facts(trimmed: CheckpointFacts, choice: Mapping[str, Any]) -> CheckpointFacts:
    """Returns the facts of the checkpoint that stage 1 ended with.

    Args:
        trimmed: facts of the training that it belongs to.
        choice: the training log's entry of the choice of the horizon, which validated these weights.
    """
    validation = {key: value for key, value in choice.items() if key.startswith("validation_")}
    evidence = {
        **(trimmed.evidence or {}),
        "stage": "stage1",
        "validation": {"execute_horizon": choice["execute_horizon"], **validation},
        "timesteps": choice["timesteps"],
        "seconds": choice["seconds"],
    }
    return replace(trimmed, execute_horizon=choice["execute_horizon"], evidence=evidence)


def write_facts(folder: Path, facts: CheckpointFacts) -> None:
    """Writes policytrim.json and the model card into a checkpoint folder."""
    facts.save(folder)
    write_model_card(folder, facts)
