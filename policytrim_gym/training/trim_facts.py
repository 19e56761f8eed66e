"""What a trimmed checkpoint knows beside its weights: where it comes from, and what proves its horizon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from policytrim_gym.config import to_mapping
from policytrim_gym.evaluation.evaluate import Evaluator
from policytrim_gym.evaluation.statistics import wilson_interval
from policytrim_gym.identity import plain_kwargs
from policytrim_gym.policies.checkpoint_facts import CheckpointFacts
from policytrim_gym.spec import PolicySpec
from policytrim_gym.training.train_state import TrainState
from policytrim_gym.training.trim_config import TrimConfig


def trimmed_facts(
    evaluator: Evaluator,
    spec: PolicySpec,
    config: TrimConfig,
    state: TrainState,
    trimmed_from: str | None,
    demonstrations: dict[str, Any] | None,
) -> CheckpointFacts:
    """Returns the facts of a training's best checkpoint so far.

    Args:
        evaluator: that validated it.
        spec: of the policy; its horizon is taken before one was validated.
        config: of the training.
        state: where it stands.
        trimmed_from: URI of the entering policy.
        demonstrations: that this one was cloned from.
    """
    factory, best = evaluator.collector.factory, state.best_validation
    # The best checkpoint is that of the last choice or improvement; a log of an older version has no dates.
    proven_on = next((row.get("date") for row in reversed(state.rows) if row["stage"] == "horizon" or row.get("is_best")), None)
    evidence = {
        "trimmed_from": trimmed_from,
        "finished": state.phase == "done",
        "validation": _with_interval(best, config.validation_states * len(evaluator.tasks)),
        "success_floor": state.success_floor,
        "timesteps": state.num_timesteps,
        "seconds": state.seconds,
    }
    return CheckpointFacts(
        execute_horizon=int(best.get("execute_horizon", spec.horizon)),
        env=factory.id,
        env_kwargs=plain_kwargs(factory.kwargs),
        demonstrations=demonstrations,
        settings=to_mapping(config),
        evidence=evidence,
        tasks=evaluator.task_names,
        control_dt_s=spec.control_dt_s if evaluator.control_dt_s is None else evaluator.control_dt_s,
        chunk_size=spec.chunk_size,
        proven_on=proven_on,
    )


def stage1_facts(trimmed: CheckpointFacts, choice: Mapping[str, Any]) -> CheckpointFacts:
    """Returns the facts of the checkpoint that stage 1 ended with.

    Args:
        trimmed: facts of the training that it belongs to.
        choice: the training log's entry of the choice of the horizon, which validated these weights.
    """
    validation = {key: value for key, value in choice.items() if key.startswith("validation_")}
    known = trimmed.evidence or {}
    evidence = {
        **known,
        "stage": "stage1",
        "validation": _with_interval(
            {"execute_horizon": choice["execute_horizon"], **validation}, known["validation"]["validation_episodes"]
        ),
        "timesteps": choice["timesteps"],
        "seconds": choice["seconds"],
    }
    return replace(trimmed, execute_horizon=choice["execute_horizon"], evidence=evidence, proven_on=choice.get("date"), proofs=())


def _with_interval(validation: Mapping[str, Any], num_episodes: int) -> dict[str, Any]:
    """Returns a validation with its number of episodes and Wilson's interval of its success; {} before there was one."""
    if not validation:
        return {}
    interval = wilson_interval(round(validation["validation_success"] * num_episodes), num_episodes)
    return {**validation, "validation_success_ci95": list(interval), "validation_episodes": num_episodes}
