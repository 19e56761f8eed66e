"""The chunk that the arm runs, when the next one is to be asked for, and the question that has been."""

from __future__ import annotations

from typing import NamedTuple


class PendingQuestion(NamedTuple):
    """A question that has no answer yet."""

    observation_stamp_s: float
    asked_s: float


class RunningChunk(NamedTuple):
    """A chunk from when it takes over.

    >>> chunk = RunningChunk(join_s=10.0, first_step=1, execute_horizon=5)
    >>> [chunk.step_s(index, control_dt_s=0.5) for index in (0, 1, 5)]
    [10.0, 10.0, 12.0]
    >>> chunk.ask_s(lead_steps=2, early_s=0.1, control_dt_s=0.5), chunk.ask_s(lead_steps=4, early_s=0.1, control_dt_s=0.5)
    (10.9, 10.0)
    """

    join_s: float  # when it takes over [s]
    first_step: int  # that runs of it; those before it were dropped
    execute_horizon: int  # last step that shall run [steps]

    def step_s(self, index: int, control_dt_s: float) -> float:
        """Returns when a step of the chunk begins, not before the chunk took over [s]."""
        return self.join_s + max(0, index - self.first_step) * control_dt_s

    def useful_s(self, chunk_size: int, control_dt_s: float) -> float:
        """Returns the time after which an observation must be [s]: of a chunk from before it no step is left when this one has run out."""
        return self.step_s(chunk_size, control_dt_s) - (chunk_size - 0.5) * control_dt_s

    def ask_s(self, lead_steps: int, early_s: float, control_dt_s: float) -> float:
        """Returns from when on the next chunk may be asked for, not before this one took over [s].

        Args:
            lead_steps: so many steps before its execute_horizon.
            early_s: so much earlier [s].
            control_dt_s: of a step [s].
        """
        return max(self.join_s, self.step_s(self.execute_horizon - lead_steps, control_dt_s) - early_s)
