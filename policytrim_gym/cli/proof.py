"""What a command says of a checkpoint's proof, and what `policytrim evaluate --write-proof` adds to it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from policytrim_gym.errors import InvalidConfig

if TYPE_CHECKING:
    from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
    from policytrim_gym.evaluation.evaluate import Evaluator
    from policytrim_gym.policies.checkpoint_facts import CheckpointFacts
    from policytrim_gym.policies.proof import RunSetting

CHECKED_SETTINGS = ("execute_horizon", "inference_delay_steps", "playback_rate")


def add_write_proof(parser: argparse.ArgumentParser) -> None:
    """Adds `--write-proof [any]`."""
    parser.add_argument(
        "--write-proof",
        metavar="any",
        nargs="?",
        choices=("own", "any"),
        const="own",
        default=None,
        help="add the result on test states to the checkpoint's policytrim.json and model card; "
        "any: at another horizon, delay or playback rate than its own too",
    )


def setting_in(evaluator: Evaluator, chunk_size: int, inference_delay_steps: int) -> RunSetting:
    """Returns where a command runs a policy, horizon and playback rate left open."""
    from policytrim_gym.policies.proof import RunSetting

    factory = evaluator.collector.factory
    return RunSetting(
        env=factory.id,
        env_kwargs=dict(factory.kwargs),
        tasks=evaluator.task_names,
        control_dt_s=evaluator.control_dt_s,
        chunk_size=chunk_size,
        inference_delay_steps=inference_delay_steps,
    )


class ProofWriter:
    """Adds an evaluation to the checkpoint that it was of; refuses before anything has run.

    Args:
        options: of `policytrim evaluate`.
        setting: that is to be evaluated.

    Raises:
        InvalidConfig: what cannot be a proof: other states than test states, a policy that is no checkpoint folder with a policytrim.json,
            another than the plain policy, or another setting than the checkpoint's, unless `--write-proof any` asks for it.
        CorruptCheckpoint: policytrim.json is not readable.
        CannotWrite: the folder cannot be written into.
    """

    def __init__(self, options: argparse.Namespace, setting: RunSetting) -> None:
        from policytrim_gym.identity import PolicyIdentity
        from policytrim_gym.run_folder import check_writable

        self._folder, self._seed, self._setting = Path(options.policy), options.seed, setting
        if options.split != "test":
            raise InvalidConfig(f"--write-proof is for test states, got --split {options.split}: validation states have chosen the horizon")
        for name in ("selector", "observation_map"):
            if getattr(options, name) is not None:
                raise InvalidConfig(f"--write-proof is for the policy alone, got --{name.replace('_', '-')} {getattr(options, name)}")
        facts = self._facts()
        for name in CHECKED_SETTINGS if options.write_proof == "own" else ():
            own, given = getattr(facts.setting, name), getattr(setting, name)
            if own != given:
                raise InvalidConfig(
                    f"--write-proof is for the checkpoint's own setting, {name} {own:g}, got {given:g}; --write-proof any adds it"
                )
        check_writable(self._folder)
        self._weights = PolicyIdentity.of(options.policy).weights_sha256

    def write(self, arm: EfficiencyReport, proven_on: str | None = None) -> Path:
        """Writes policytrim.json and the model card and returns the path of the former.

        Args:
            arm: the result.
            proven_on: its day, an ISO date; None is today in UTC.

        Raises:
            InvalidConfig: the folder holds other weights by now.
        """
        from policytrim_gym.identity import PolicyIdentity
        from policytrim_gym.policies.checkpoint_facts import FILE_NAME
        from policytrim_gym.policies.model_card import write_facts
        from policytrim_gym.policies.proof import Proof, utc_date

        if PolicyIdentity.of(str(self._folder)).weights_sha256 != self._weights:
            raise InvalidConfig(f"{self._folder} must hold the weights that were evaluated, got others meanwhile; no proof was written")
        proof = Proof(
            setting=self._setting,
            num_episodes=len(arm.episodes),
            seed=self._seed,
            success_rate=arm.success_rate,
            success_rate_ci95=(arm.success_rate_ci95.low, arm.success_rate_ci95.high),
            steps_mean_success=arm.steps_mean_success,
            num_replans_mean_success=arm.num_replans_mean_success,
            proven_on=utc_date() if proven_on is None else proven_on,
            weights_sha256=self._weights,
        )
        write_facts(self._folder, self._facts().with_proof(proof))
        return self._folder / FILE_NAME

    def _facts(self) -> CheckpointFacts:
        from policytrim_gym.policies.checkpoint_facts import FILE_NAME, load_facts

        facts = load_facts(self._folder)
        if facts is None:
            raise InvalidConfig(f"--write-proof needs a checkpoint folder with a {FILE_NAME}, got {self._folder}")
        return facts
