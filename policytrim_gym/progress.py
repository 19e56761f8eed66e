"""Progress for whoever waits: a bar on a terminal, a line now and then in a log file; on stderr, since stdout holds results."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

LOG_EVERY_S = 30.0
"""Between two lines of a log file. A bar that is drawn ten times a second makes thousands."""


class ProgressBar:
    """Shows how far a piece of work is.

    Args:
        total: of the work.
        unit: that it is counted in, singular.
        description: what is being done.
        done: how much of it was done before.
        leave: whether the bar stays on the terminal when it is closed.
        show: False shows nothing.

    >>> with ProgressBar(2, "task", "demonstrations", show=False) as bar:
    ...     bar.advance()
    ...     bar.advance_to(5)
    >>> bar.done
    2
    """

    def __init__(self, total: int, unit: str, description: str = "", *, done: int = 0, leave: bool = True, show: bool = True) -> None:
        self.done = min(done, total)
        self._total, self._unit, self._description = total, unit, description
        self._show = show
        self._last_line = time.monotonic()
        self._bar: Any = None
        if show and sys.stderr.isatty():
            from tqdm import tqdm

            # miniters=0: a change of the description alone is drawn too, at most every 0.1 s.
            self._bar = tqdm(total=total, initial=self.done, desc=description, unit=unit, unit_scale=total >= 10_000,
                             dynamic_ncols=True, leave=leave, miniters=0)  # fmt: skip

    def advance(self, count: int = 1) -> None:
        """Adds `count` to what is done."""
        self.advance_to(self.done + count)

    def advance_to(self, done: int) -> None:
        """Sets what is done, at most the total: beyond it a bar loses its scale."""
        self.done = min(done, self._total)
        if self._bar is not None:
            self._bar.update(self.done - self._bar.n)
        elif self._show and time.monotonic() - self._last_line > LOG_EVERY_S:
            self._last_line = time.monotonic()
            write_line(f"{self._description}: {self.done:,} of {self._total:,} {self._unit}s")

    def describe(self, description: str, *, now: bool = False) -> None:
        """Names what is being done; `now` draws it at once, for work that shows nothing for a while."""
        self._description = description
        if self._bar is not None:
            self._bar.set_description(description, refresh=now)
            self._bar.update(0)
        else:
            self.advance(0)

    def close(self) -> None:
        """Draws the bar for the last time."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


def write_line(text: str) -> None:
    """Writes a line to stderr, above the bars of a terminal."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        tqdm.write(text, file=sys.stderr)
    else:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
