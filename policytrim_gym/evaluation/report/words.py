"""How the tables of a report write their numbers."""

from __future__ import annotations

from collections.abc import Sequence

from policytrim_gym.evaluation.statistics import Interval

NOTHING = "–"


def number(value: float | None) -> str:
    """Formats a mean with three significant figures at least.

    >>> number(3.456), number(133.4), number(None)
    ('3.46', '133.4', '–')
    """
    return NOTHING if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def factor(value: float | None, interval: Interval | Sequence[float] | None = None) -> str:
    """Formats a ratio, with its interval where one is given.

    >>> factor(5.831), factor(None), factor(1.5, (1.4, 1.6))
    ('5.83x', '–', '1.50x [1.40, 1.60]')
    """
    if value is None:
        return NOTHING
    return f"{value:.2f}x" + ("" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]")


def duration(seconds: float | None) -> str:
    """Formats a duration.

    >>> duration(0.0123), duration(2.5)
    ('12 ms', '2.50 s')
    """
    return NOTHING if seconds is None else f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def percent(rate: float) -> str:
    """Formats a fraction.

    >>> percent(0.95)
    '95.0 %'
    """
    return f"{100 * rate:.1f} %"


def interval_words(interval: Interval | Sequence[float]) -> str:
    """Formats the bounds of a fraction in percent.

    >>> interval_words((0.888, 0.978))
    '[88.8, 97.8]'
    """
    return f"[{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"
