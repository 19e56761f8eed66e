"""Shows a trim to whoever waits: one bar of physical steps, named after what runs, and a line for each validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from policytrim_gym.progress import ProgressBar, write_line
from policytrim_gym.rollouts.collector import Rollout
from policytrim_gym.training.train_state import TrainState
from policytrim_gym.training.training_log import validation_line


class TrimProgress:
    """The bar and the lines of one `TrimGRPO.learn`.

    Args:
        total_timesteps: physical steps of the whole training.
        state: that the training goes on from; a run that goes on, or has nothing left to do, says so.
        show: False shows nothing.
    """

    def __init__(self, total_timesteps: int, state: TrainState, show: bool = True) -> None:
        self._state = state
        self._show = show
        is_done = state.phase == "done"
        self._bar = ProgressBar(total_timesteps, "step", state.phase, done=state.num_timesteps, show=show and not is_done)
        if show and is_done:
            write_line(f"already finished at {state.num_timesteps:,} steps: nothing left to train; another training needs another folder")
        elif show and state.rows:
            write_line(f"going on at {state.num_timesteps:,} of {total_timesteps:,} steps, phase {state.phase}")

    def begin(self, what: str) -> None:
        """Names what begins."""
        self._bar.describe(what, now=True)

    def rollouts(self, what: str, total: int, *, training: bool = False) -> Callable[[Rollout], None]:
        """Returns a callback for finished rollouts that shows their count.

        Args:
            what: they are for.
            total: rollouts that are expected.
            training: whether their steps count as training steps.
        """
        self.begin(what)
        done = 0
        steps = self._state.num_timesteps

        def show(rollout: Rollout) -> None:
            nonlocal done, steps
            done += 1
            steps += rollout.steps
            self._bar.describe(f"{what} {done}/{total}")
            if training:
                self._bar.advance_to(steps)

        return show

    def gradient_steps(self, what: str, total: int) -> Callable[[int, float], None]:
        """Returns a callback for gradient steps that shows their count."""
        return lambda step, loss: self._bar.describe(f"{what} {step + 1}/{total}")

    def end(self, row: dict[str, Any]) -> None:
        """Shows an entry of the training log."""
        self._bar.describe(f"{row['stage']}: success {row.get('success', row.get('validation_success', 0)):.0%}")
        self._bar.advance_to(self._state.num_timesteps)
        if self._show and "validation_success" in row:
            write_line(validation_line(row))

    def close(self) -> None:
        """Draws the bar for the last time."""
        self._bar.close()
