"""What tells two settings apart, in the words of an error message."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

_NOT_GIVEN = object()


def first_difference(held: Mapping[str, Any], wanted: Mapping[str, Any], ignore: Collection[str] = ()) -> str | None:
    """Returns the first setting that differs, with both values, or None; a nested setting is named by its path.

    Args:
        held: what a folder or file was made with.
        wanted: what is asked for now.
        ignore: keys of the outer mapping that may differ.

    >>> first_difference({"seed": 0}, {"seed": 0, "tasks": ["reach-v3"]})
    "tasks not given, now it is ['reach-v3']"
    >>> first_difference({"seed": 0, "warm_start": {"max_steps": 300}}, {"seed": 0, "warm_start": {"max_steps": 3}})
    'warm_start.max_steps=300, now it is 3'
    """
    for key in sorted({*held, *wanted}):
        before, now = held.get(key, _NOT_GIVEN), wanted.get(key, _NOT_GIVEN)
        if key in ignore or before == now:
            continue
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            return f"{key}.{first_difference(before, now)}"
        return f"{key} not given, now it is {now!r}" if before is _NOT_GIVEN else f"{key}={before!r}, now it is {_shown(now)}"
    return None


def _shown(value: Any) -> str:
    return "not given" if value is _NOT_GIVEN else repr(value)
