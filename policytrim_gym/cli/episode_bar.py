"""The progress bar of the commands that roll out episodes."""

from __future__ import annotations

from types import TracebackType

from policytrim_gym.progress import ProgressBar


class EpisodeBar:
    """Counts finished episodes, and is drawn from the first one on: a setting that cannot be run is refused without an empty bar.

    Unlike `ProgressBar`, which is drawn when it is made.

    Args:
        total: episodes to come.

    >>> with EpisodeBar(2) as bar:
    ...     bar.is_drawn
    False
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._bar: ProgressBar | None = None

    @property
    def is_drawn(self) -> bool:
        """Whether an episode was counted."""
        return self._bar is not None

    def __call__(self, rollout: object) -> None:
        """Counts one episode; the `on_episode` of an evaluation."""
        if self._bar is None:
            self._bar = ProgressBar(self._total, "episode", "rollouts")
        self._bar.advance()

    def __enter__(self) -> EpisodeBar:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()
