"""Tables in a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns rows of cells as lines with even columns, the first one to the left and the others to the right.

    >>> aligned([["arm", "steps"], ["trimmed", "8"]])
    ['arm      steps', 'trimmed      8']
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [f"{row[0]:<{widths[0]}}  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:])) for row in rows]
