"""A trim as a run folder: the best checkpoint, its evidence, its log, and what a stopped run goes on from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from policytrim_gym.config import dump_yaml, to_mapping
from policytrim_gym.errors import InvalidConfig
from policytrim_gym.files import write_atomic, write_json_atomic
from policytrim_gym.policies.checkpoint_facts import CheckpointFacts
from policytrim_gym.policies.loading import load_policy
from policytrim_gym.policies.model_card import write_model_card
from policytrim_gym.policy import TrainableChunkPolicy
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.training.grpo import Callback, TrimGRPO
from policytrim_gym.training.trim_config import TrimConfig

LOG_FILE = "training.json"
STAGE1_FOLDER = "stage1"


def trim(
    policy_uri: str,
    env: EnvFactory,
    out: str | os.PathLike[str],
    config: TrimConfig,
    total_timesteps: int,
    facts: CheckpointFacts | None = None,
    callback: Callback | Sequence[Callback] = (),
    progress_bar: bool = True,
) -> TrimGRPO:
    """Trims a checkpoint into a run folder, or goes on with the run that the folder holds.

    The folder is the best checkpoint so far (config.json, model.safetensors, tokenizer.json, policytrim.json with the evidence) from the
    first validation on. Beside it: config.yaml, training.json (the log), tensorboard/, resume/, and stage1/ with the checkpoint that
    stage 1 ended with.

    Args:
        policy_uri: of the policy to trim; `load_policy` reads it.
        env: where it is trained.
        out: the run folder.
        config: of the training; must be the one that a run to go on with was started with.
        total_timesteps: physical training steps.
        facts: what is known of the entering checkpoint, kept in policytrim.json.
        callback: as `TrimGRPO.learn` takes it.
        progress_bar: whether to show one.

    Raises:
        InvalidConfig: the folder holds a run with another configuration, or is the policy's own.
        CannotWrite: the disk is full or not writable; the last checkpoint and state are whole.
    """
    folder = Path(out)
    if Path(policy_uri).is_dir() and Path(policy_uri).resolve() == folder.resolve():
        raise InvalidConfig(f"the run folder must not be the folder of the policy to trim, got {out} for both")
    policy = load_policy(policy_uri)
    trainer = TrimGRPO(policy, env, config, run_dir=folder)
    write_atomic(folder / "config.yaml", dump_yaml(config))
    writer = _RunFolder(folder, env, facts, policy_uri)
    callbacks = [callback] if callable(callback) else list(callback)
    trainer.learn(total_timesteps, [writer, *callbacks], progress_bar)
    writer.write(trainer)
    return trainer


class _RunFolder:
    """Keeps the folder's checkpoint at the best one; a callback."""

    def __init__(self, folder: Path, env: EnvFactory, facts: CheckpointFacts | None, policy_uri: str) -> None:
        self._folder = folder
        self._env = env
        self._facts = facts
        self._policy_uri = policy_uri
        self._written: dict[str, Any] = {}

    def __call__(self, trainer: TrimGRPO) -> None:
        if trainer.state.best_validation != self._written:
            self.write(trainer)
        elif "validation_success" in trainer.state.rows[-1]:
            write_json_atomic(self._folder / LOG_FILE, trainer.state.rows)

    def write(self, trainer: TrimGRPO) -> None:
        """Writes the best weights, what proves them, and the log."""
        policy = trainer.policy
        assert isinstance(policy, TrainableChunkPolicy)
        write_json_atomic(self._folder / LOG_FILE, trainer.state.rows)
        with trainer.best_weights():
            policy.save_pretrained(str(self._folder))
        best = trainer.state.best_validation
        facts = self._facts or CheckpointFacts(policy.spec.horizon)
        evidence = {
            "trimmed_from": self._policy_uri,
            "finished": trainer.state.phase == "done",
            "validation": best,
            "success_floor": trainer.state.success_floor,
            "timesteps": trainer.num_timesteps,
            "seconds": trainer.state.seconds,
        }
        trimmed = CheckpointFacts(
            execute_horizon=int(best.get("execute_horizon", policy.spec.horizon)),
            env=self._env.id,
            env_kwargs=dict(self._env.kwargs),
            demonstrations=facts.demonstrations,
            settings=to_mapping(trainer.config),
            evidence=evidence,
        )
        trimmed.save(self._folder)
        write_model_card(self._folder, trimmed)
        if trainer.stage1_weights and not (self._folder / STAGE1_FOLDER / "model.safetensors").exists():
            with trainer.weights(trainer.stage1_weights):
                policy.save_pretrained(str(self._folder / STAGE1_FOLDER))
        self._written = dict(best)
