"""A trim as a run folder: the best checkpoint, its evidence, its log, and what a stopped run goes on from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from policytrim_gym.config import dump_yaml
from policytrim_gym.files import write_atomic, write_json_atomic
from policytrim_gym.identity import PolicyIdentity
from policytrim_gym.policies.checkpoint_facts import CheckpointFacts, load_facts
from policytrim_gym.policies.loading import load_policy
from policytrim_gym.policies.model_card import write_facts
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.run_folder import check_run_folder
from policytrim_gym.training.grpo import STATE_FILE, Callback, TrimGRPO
from policytrim_gym.training.trim_config import TrimConfig
from policytrim_gym.training.trim_facts import stage1_facts

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
        InvalidConfig: the folder holds another checkpoint, or a run with another policy, environment or configuration.
        CorruptCheckpoint: policy or state to go on from are damaged, or the state is of an older version.
        CannotWrite: the disk is full or not writable; the last checkpoint and state are whole.
    """
    folder = Path(out)
    check_run_folder(folder, policy_uri, "trim", STATE_FILE, TrimConfig)
    trainer = TrimGRPO(load_policy(policy_uri), env, config, run_dir=folder, policy_uri=policy_uri)
    write_atomic(folder / "config.yaml", dump_yaml(trainer.config))
    writer = _RunFolder(folder, None if facts is None else facts.demonstrations)
    callbacks = [callback] if callable(callback) else list(callback)
    trainer.learn(total_timesteps, [writer, *callbacks], progress_bar)
    writer.write(trainer)
    return trainer


class _RunFolder:
    """Keeps the folder's checkpoint at the best one; a callback."""

    def __init__(self, folder: Path, demonstrations: dict[str, Any] | None) -> None:
        self._folder = folder
        self._demonstrations = demonstrations
        self._written: dict[str, Any] = {}

    def __call__(self, trainer: TrimGRPO) -> None:
        if trainer.state.best_validation != self._written:
            self.write(trainer)
        elif "validation_success" in trainer.state.rows[-1]:
            write_json_atomic(self._folder / LOG_FILE, trainer.state.rows)

    def write(self, trainer: TrimGRPO) -> None:
        """Writes the best weights, what proves them, and the log."""
        write_json_atomic(self._folder / LOG_FILE, trainer.state.rows)
        known = load_facts(self._folder)  # new weights take them along
        with trainer.best_weights():
            trainer.policy.save_pretrained(str(self._folder))
        facts = self._keep_proofs(trainer.facts(self._demonstrations), known)
        write_facts(self._folder, facts)
        self._write_stage1(trainer, facts)
        self._written = dict(trainer.state.best_validation)

    def _keep_proofs(self, facts: CheckpointFacts, known: CheckpointFacts | None) -> CheckpointFacts:
        """Returns the facts with the known proofs of the folder's weights: a finished run that is started again changes nothing."""
        if known is None or not known.proofs:
            return facts
        return replace(facts, proofs=known.proofs_of(PolicyIdentity.of(str(self._folder)).weights_sha256))

    def _write_stage1(self, trainer: TrimGRPO, facts: CheckpointFacts) -> None:
        """Writes what stage 1 ended with, once: when its horizon has been chosen on it."""
        folder = self._folder / STAGE1_FOLDER
        choice = next((row for row in trainer.state.rows if row["stage"] == "horizon"), None)
        if not trainer.stage1_weights or choice is None or (folder / "model.safetensors").exists():
            return
        with trainer.weights(trainer.stage1_weights):
            trainer.policy.save_pretrained(str(folder))
        write_facts(folder, stage1_facts(facts, choice))
