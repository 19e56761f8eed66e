"""Runs an experiment from nothing to its report; stopped at any moment and started again, it goes on."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from policytrim_gym.config import dump_yaml, load_yaml, to_mapping
from policytrim_gym.differences import first_difference
from policytrim_gym.errors import InvalidConfig, InvalidSpec, MissingExtra
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
from policytrim_gym.evaluation.evaluate import Evaluator, arm_name
from policytrim_gym.evaluation.pareto import UntrainedSelection, best_untrained_pair
from policytrim_gym.evaluation.report.build import Provenance, WallClockSetting, build_report, save_report
from policytrim_gym.evaluation.report.html import render_report, save_headline_plot
from policytrim_gym.evaluation.report.transfer import Transfer, kwargs_words
from policytrim_gym.evaluation.report.verdict import Target
from policytrim_gym.experiments.arms import ArmStore
from policytrim_gym.experiments.clip import record_comparison
from policytrim_gym.experiments.config import Ablation, ExperimentConfig
from policytrim_gym.experiments.expert_arm import expert_arm
from policytrim_gym.files import replace_folder_files, write_atomic
from policytrim_gym.policies.checkpoint_facts import CheckpointFacts, load_facts
from policytrim_gym.policies.loading import load_policy
from policytrim_gym.policy import ChunkPolicy
from policytrim_gym.progress import ProgressBar
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.rollouts.episode import EpisodeRequest
from policytrim_gym.run_folder import WEIGHTS_FILE, holds_checkpoint
from policytrim_gym.training.clone import clone_into, held_clone
from policytrim_gym.training.trim import LOG_FILE, STAGE1_FOLDER, trim

TRIMMED = "trimmed"
REFERENCE = "saturated"

_MAY_CHANGE = ("ablations", "delays", "transfer_env_kwargs", "num_workers")
"""What a folder's experiment may be taken up again with: these add arms or processes and change no number that is there."""


class Experiment:
    """One base, its trim and their table, in a folder.

    Args:
        config: what to do; a folder that was started with another configuration is refused.
        out: the folder: base/, trimmed/, one folder for each ablation, arms/, report.json, report.html.
        say: takes a line of progress.
        targets: figures that were set before the measurement.
        base: folder of a checkpoint that is the configured clone already; it is copied instead of cloned anew.

    Raises:
        InvalidConfig: the folder belongs to another experiment, or is itself a checkpoint; `base` is not the configured clone.
        UnknownTask, InvalidSpec, MissingExtra: the environment, or that of the transfer, cannot be made; the folder is left as it was.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        out: str | os.PathLike[str],
        say: Callable[[str], None] = print,
        targets: Sequence[Target] = (),
        base: str | os.PathLike[str] | None = None,
    ) -> None:
        self.config = config
        self.out = Path(out)
        self._say = say
        self._targets = targets
        self._base = base
        self.factory = EnvFactory(config.env, config.env_kwargs)
        if config.transfer_env_kwargs is not None:
            self._away(config.transfer_env_kwargs)().close()  # an engine that is missing must not be found out after the training
        if base is not None:
            held_clone(base, self.factory, config.clone_config())
        config_file = self.out / "config.yaml"
        if config_file.exists():
            held = load_yaml(ExperimentConfig, config_file)
            difference = first_difference(to_mapping(held), to_mapping(config), ignore=_MAY_CHANGE)
            if difference is not None:
                raise InvalidConfig(f"{self.out} holds an experiment with {difference}; choose another folder")
        elif holds_checkpoint(self.out):
            raise InvalidConfig(f"{self.out} holds a checkpoint and no experiment; choose another folder")
        else:
            self.factory().close()  # a task that does not exist must not be what the folder stands for from now on
            write_atomic(config_file, dump_yaml(config))

    def run(self) -> dict[str, Any]:
        """Does what is not done yet, writes report.json and report.html, and returns the report."""
        base = self._clone()
        with Evaluator(self.factory, self.config.num_workers) as evaluator:
            best_untrained, floor = self._sweep(evaluator, base)
        self._trim(floor, None)
        for ablation in self.config.ablations:
            self._trim(floor, ablation)
        with Evaluator(self.factory, self.config.num_workers) as evaluator:
            return self._report(evaluator, base, best_untrained)

    # The parts, in their order.

    def _clone(self) -> ChunkPolicy:
        folder = self.out / "base"
        if not (folder / WEIGHTS_FILE).exists():
            if self._base is not None:
                replace_folder_files(self._base, folder, last=WEIGHTS_FILE)
            else:
                clone_into(folder, self.factory, self.config.clone_config(), self.config.num_workers)
        return load_policy(str(folder))

    def _sweep(self, evaluator: Evaluator, base: ChunkPolicy) -> tuple[UntrainedSelection, float]:
        """Evaluates every untrained setting on validation states; returns the strongest, and the success floor of the trim.

        The floor is the higher success of stock and the strongest untrained setting: a trim that is faster but less reliable than what
        costs nothing is no progress.
        """
        arms = self._untrained(evaluator, base, "validation", self.config.sweep_states)
        stock = next(arm for arm in arms if arm.name == arm_name(base.spec.horizon))
        selection = best_untrained_pair(arms, stock)
        chosen = next(arm for arm in arms if arm.name == selection.name)
        steps = {arm.name: "no" if arm.steps_mean_success is None else f"{arm.steps_mean_success:.0f}" for arm in (chosen, stock)}
        self._say(
            f"strongest untrained setting on validation states: {selection.name} "
            f"(success {chosen.success_rate:.1%}, {steps[chosen.name]} steps; stock {stock.success_rate:.1%}, {steps[stock.name]} steps)"
        )
        return selection, max(stock.success_rate, chosen.success_rate)

    def _trim(self, success_floor: float, ablation: Ablation | None) -> None:
        name = TRIMMED if ablation is None else ablation
        facts = load_facts(self._folder(name)) if (self._folder(name) / "policytrim.json").exists() else None
        if facts is None or not (facts.evidence or {}).get("finished"):
            self._say(f"training: {name}")
            config = self.config.trim_config(success_floor, ablation)
            base_facts = load_facts(self.out / "base") or CheckpointFacts(config.windows[0] if config.windows else 1)
            trim(str(self.out / "base"), self.factory, self._folder(name), config, self.config.total_timesteps, base_facts)

    def _report(self, evaluator: Evaluator, base: ChunkPolicy, best_untrained: UntrainedSelection) -> dict[str, Any]:
        trimmed = load_policy(str(self._folder(TRIMMED)))
        untrained = self._untrained(evaluator, base, "test", self.config.test_states)
        ensemble = self._arm(evaluator, f"base {arm_name(self.config.ensemble_horizon, ensemble=True)}", base, ensemble=True,
                             execute_horizon=self.config.ensemble_horizon)  # fmt: skip
        trained = self._trained(evaluator, trimmed)
        stock_name = arm_name(base.spec.horizon)
        stock = next(arm for arm in untrained if arm.name == stock_name)
        main = trained.pop(0)
        facts = load_facts(self._folder(TRIMMED))
        assert facts is not None
        transfer = self._transfer(base, trimmed, stock, main)
        report = build_report(
            Provenance(
                policy=TRIMMED,
                env=self._env_words(evaluator),
                seed=self.config.seed,
                command=" ".join(["policytrim", *sys.argv[1:]]),
                demonstrator=self.config.clone.demonstrator,
                training=facts.evidence,
                extra={"demonstrations": facts.demonstrations, **({} if transfer is None else {"transfer": transfer})},
            ),
            baseline=stock,
            trimmed=main,
            controls=[*(arm for arm in untrained if arm.name != stock_name), ensemble, *trained],
            untrained=[*(arm.name for arm in untrained if arm.name != stock_name), ensemble.name],
            best_untrained=best_untrained,
            reference=self._reference(evaluator),
            margin=self.config.margin,
            targets=self._targets,
            wall_clock_settings=(WallClockSetting(0.05, 0.05), WallClockSetting(0.1, 0.05)),
        )
        save_report(report, self.out / "report.json")
        save_headline_plot(report, self.out / "headline.png")
        render_report(report, self.out, self._training_rows(), self._video(evaluator, base, trimmed, stock, main))
        return report

    # Arms.

    def _untrained(self, evaluator: Evaluator, base: ChunkPolicy, split: str, states: int) -> list[EfficiencyReport]:
        """Returns the base at every horizon and playback rate."""
        horizons = sorted({*self.config.horizons, base.spec.horizon})
        rates = sorted({*self.config.playback_rates, 1.0})
        return [
            self._arm(evaluator, arm_name(horizon, rate), base, split=split, states=states, execute_horizon=horizon, playback_rate=rate)
            for rate in rates
            for horizon in horizons
        ]

    def _trained(self, evaluator: Evaluator, trimmed: ChunkPolicy) -> list[EfficiencyReport]:
        """Returns the trimmed policy first, then its delays, its stages and the ablations."""
        horizon, chunk_size = trimmed.spec.horizon, trimmed.spec.chunk_size
        arms = [self._arm(evaluator, TRIMMED, trimmed, execute_horizon=horizon)]
        for delay in self.config.delays:
            arms.append(
                self._arm(
                    evaluator,
                    f"{TRIMMED}, delay {delay}",
                    trimmed,
                    execute_horizon=min(horizon, chunk_size - delay),
                    inference_delay_steps=delay,
                )
            )
        stage1 = self._folder(TRIMMED) / STAGE1_FOLDER
        if stage1.exists():
            arms.append(self._arm(evaluator, "stage 1 only", load_policy(str(stage1)), execute_horizon=horizon))
        for ablation in self.config.ablations:
            policy = load_policy(str(self._folder(ablation)))
            arms.append(self._arm(evaluator, ablation, policy, execute_horizon=policy.spec.horizon))
        return arms

    def _reference(self, evaluator: Evaluator) -> EfficiencyReport | None:
        """Returns the fastest scripted expert; None, and a line that says why, where the environment has none."""
        tasks = self._tasks(evaluator)
        states, workers = self.config.test_states, self.config.num_workers
        try:
            return ArmStore(self.out / "arms").get(
                f"{REFERENCE} expert", lambda: expert_arm(self.factory, tasks, REFERENCE, states, num_workers=workers)
            )
        except (InvalidConfig, InvalidSpec) as error:
            self._say(f"no reference of a scripted expert: {error}")
            return None

    def _transfer(self, base: ChunkPolicy, trimmed: ChunkPolicy, stock: EfficiencyReport, main: EfficiencyReport) -> dict[str, Any] | None:
        """Evaluates stock and trimmed policy in the environment of `transfer_env_kwargs`; None where there is none."""
        changed = self.config.transfer_env_kwargs
        if changed is None:
            return None
        own = {key: value for key, value in self.config.env_kwargs.items() if key in changed}
        home, away = kwargs_words(own) or "the training's settings", kwargs_words(changed)
        with Evaluator(self._away(changed), self.config.num_workers) as evaluator:
            arms = [
                self._arm(evaluator, f"{name} in {away}", policy, execute_horizon=arm.execute_horizon)
                for name, policy, arm in (("stock", base, stock), (TRIMMED, trimmed, main))
            ]
        return Transfer(changed, home, away, *arms).to_json(stock, main, self.config.margin)

    def _arm(
        self, evaluator: Evaluator, name: str, policy: ChunkPolicy, *, split: str = "test", states: int | None = None, **setting: Any
    ) -> EfficiencyReport:
        states = self.config.test_states if states is None else states

        def evaluate() -> EfficiencyReport:
            with ProgressBar(states * len(evaluator.tasks), "episode", f"{split}: {name}", leave=False) as bar:
                arm = evaluator.evaluate(policy, states_per_task=states, split=split, on_episode=lambda rollout: bar.advance(), **setting)
            steps = "no success" if arm.steps_mean_success is None else f"{arm.steps_mean_success:6.1f} steps"
            self._say(f"{split}: {name:<22} success {arm.success_rate:6.1%}  {steps}  {arm.num_replans_mean_success or 0:5.2f} calls")
            return arm

        return ArmStore(self.out / "arms" / split if split != "test" else self.out / "arms").get(name, evaluate)

    # Names and files.

    def _away(self, changed: Mapping[str, Any]) -> EnvFactory:
        return EnvFactory(self.config.env, {**self.config.env_kwargs, **changed})

    @staticmethod
    def _tasks(evaluator: Evaluator) -> tuple[str, ...]:
        return tuple(task for task in evaluator.tasks if task is not None)

    def _env_words(self, evaluator: Evaluator) -> str:
        """Returns the environment as a reader would name it: its id, its tasks, and its other arguments."""
        tasks = ", ".join(self._tasks(evaluator))
        others = kwargs_words({key: value for key, value in self.config.env_kwargs.items() if key not in ("task", "tasks")})
        return f"{self.factory.name} {tasks}".rstrip() + (f" ({others})" if others else "")

    def _folder(self, name: str) -> Path:
        return self.out / name.replace(" ", "-")

    def _training_rows(self) -> list[dict[str, Any]]:
        return json.loads((self._folder(TRIMMED) / LOG_FILE).read_text(encoding="utf-8"))

    def _video(
        self, evaluator: Evaluator, base: ChunkPolicy, trimmed: ChunkPolicy, stock: EfficiencyReport, main: EfficiencyReport
    ) -> bytes | None:
        """Returns base and trimmed side by side on a state that both solve; None, and a line that says why, where nothing can be drawn."""
        pairs = [(before, after) for before, after in zip(stock.episodes, main.episodes) if before.success and after.success]
        if not pairs:
            self._say("no video: base and trimmed policy have no success in common")
            return None
        # Reaching moves no object, so that there is less to see.
        pairs = [pair for pair in pairs if "reach" not in str(pair[0].task)] or pairs
        before, _ = sorted(pairs, key=lambda pair: pair[0].steps / pair[1].steps)[len(pairs) // 2]
        start = {"task": before.task, "split": "test", "initial_state": before.initial_state}
        try:
            gif = record_comparison(
                evaluator,
                base,
                trimmed,
                EpisodeRequest(stock.execute_horizon, **start),  # type: ignore[arg-type]
                EpisodeRequest(main.execute_horizon, **start),  # type: ignore[arg-type]
            )
        except (MissingExtra, InvalidSpec) as error:
            self._say(f"no video: {error}")
            return None
        write_atomic(self.out / "side-by-side.gif", gif)
        return gif
