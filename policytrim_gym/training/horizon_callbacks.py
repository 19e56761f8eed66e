"""SB3 callbacks for horizon controllers: what a controller saves, the best one that keeps success, and when to give up.

    EvaluateEfficiency(..., callback=CallbackList([KeepBestSelector(...), StopBelowFloor(...)]))

They work in any `model.learn(callback=...)`, and `train_horizon` puts them together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from stable_baselines3.common.callbacks import BaseCallback, EventCallback

from policytrim_gym.errors import InvalidConfig
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
from policytrim_gym.evaluation.evaluate import Evaluator
from policytrim_gym.policy import ChunkPolicy
from policytrim_gym.progress import ProgressBar
from policytrim_gym.selectors.learned import LearnedSelector, write_selector
from policytrim_gym.selectors.selector_file import SelectorFacts
from policytrim_gym.training.training_log import validation_words
from policytrim_gym.training.validation import checkpoint_score, validation_row

Report = Callable[[str], object]
"""Takes one line for the user, such as `print`, or `write_line` where a progress bar is shown."""


class EvaluateEfficiency(EventCallback):
    """Evaluates the controller on fixed states, logs success, steps and calls, and wakes the callbacks that decide upon them.

    It evaluates whenever another `every_timesteps` have passed, and at the end of the training. The log keys are `validation/success`,
    `validation/steps`, `validation/calls` (both over successes) and `validation/restricted_steps`; SB3 sends them to TensorBoard.

    Args:
        evaluator: whose workers and states are used.
        policy: whose chunks the controller chooses from.
        facts: of the controller, as `SelectorFacts.of` gives them.
        every_timesteps: between two evaluations; a step is one call of the policy.
        states_per_task: episodes of each task.
        split: of the initial states.
        seed: for environments without initial states.
        callback: called after each evaluation; it finds this one as `parent` and the result in `parent.arm`.
        report: takes one line for each evaluation.

    Raises:
        InvalidConfig: `every_timesteps` below 1.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        policy: ChunkPolicy,
        facts: SelectorFacts,
        every_timesteps: int,
        states_per_task: int,
        split: str = "validation",
        seed: int = 0,
        callback: BaseCallback | None = None,
        report: Report | None = None,
    ) -> None:
        super().__init__(callback)
        if every_timesteps < 1:
            raise InvalidConfig(f"every_timesteps must be at least 1, got {every_timesteps}")
        self.arm: EfficiencyReport | None = None
        self._evaluator, self._policy, self._facts = evaluator, policy, facts
        self._every, self._states, self._split, self._seed = every_timesteps, states_per_task, split, seed
        self._report = report
        self._stopped = False

    def _on_training_start(self) -> None:
        self._next = self.model.num_timesteps + self._every

    def _on_step(self) -> bool:
        # Less than one interval before the end, the evaluation at the end is the next one.
        if self.num_timesteps < self._next or self.num_timesteps >= self.locals["total_timesteps"]:
            return True
        self._next += self._every
        self._stopped = not self._evaluate()
        return not self._stopped

    def _on_training_end(self) -> None:
        if not self._stopped:
            self._evaluate()

    def _evaluate(self) -> bool:
        selector = LearnedSelector(self.model, self._facts)
        horizon, states = selector.longest_horizon, self._states
        self.arm = self._evaluator.evaluate(self._policy, horizon, states, split=self._split, seed=self._seed, selector=selector)
        for key, value in validation_row(self.arm).items():
            if value is not None:
                self.logger.record(key.replace("_", "/", 1), value)
        self.logger.dump(self.num_timesteps)
        if self._report is not None:
            self._report(f"{self.num_timesteps} calls: {validation_words(validation_row(self.arm))}")
        return self._on_event()


class KeepBestSelector(BaseCallback):
    """Writes the controller into a folder when none before was better: first by the shortfall of success, then by sqrt(steps * calls).

    Args:
        folder: for model.zip and selector.json.
        facts: of the controller.
        success_floor: least success that needs no excuse; see `checkpoint_score`.
        best_score: of the controller in the folder, for a training that goes on; empty when there is none.
    """

    parent: EvaluateEfficiency

    def __init__(
        self, folder: str | os.PathLike[str], facts: SelectorFacts, success_floor: float, best_score: Sequence[float] = ()
    ) -> None:
        super().__init__()
        self.best_score = tuple(best_score)
        self._folder, self._facts, self._floor = folder, facts, success_floor

    def _on_step(self) -> bool:
        arm = self.parent.arm
        assert arm is not None
        score = checkpoint_score(arm, self._floor)
        if not self.best_score or score < self.best_score:
            evidence = {"timesteps": self.num_timesteps, "success_floor": self._floor, **validation_row(arm)}
            write_selector(self.model, self._folder, replace(self._facts, evidence=evidence))
            self.best_score = score
        return True


class StopBelowFloor(BaseCallback):
    """Ends the training after several evaluations in a row whose success was below the floor.

    Args:
        success_floor: least success.
        patience: so many; None never ends it.
        num_below: how many it has been so far, for a training that goes on.
    """

    parent: EvaluateEfficiency

    def __init__(self, success_floor: float, patience: int | None, num_below: int = 0) -> None:
        super().__init__()
        self.num_below = num_below
        self._floor, self._patience = success_floor, patience

    def _on_step(self) -> bool:
        arm = self.parent.arm
        assert arm is not None
        self.num_below = self.num_below + 1 if arm.success_rate < self._floor else 0
        return self._patience is None or self.num_below < self._patience


class ShowProgress(BaseCallback):
    """Shows a bar of the training's steps that goes on where a stopped run had come to."""

    def _on_training_start(self) -> None:
        self._bar = ProgressBar(self.locals["total_timesteps"], "call", "horizon training", done=self.model.num_timesteps)

    def _on_step(self) -> bool:
        self._bar.advance_to(self.num_timesteps)
        return True

    def _on_training_end(self) -> None:
        self._bar.close()
