"""Writes the tables of settings in docs/reference (configuration.md, ros.md) from the docstrings: `python docs/config_tables.py`."""

from __future__ import annotations

import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any

from policytrim_gym.config import field_descriptions

PAGE = Path(__file__).parent / "reference" / "configuration.md"
ROS_PAGE = PAGE.with_name("ros.md")
PLACE = re.compile(r"(<!-- fields of (?P<module>[\w.]+):(?P<name>\w+) -->\n)(?P<table>.*?)(<!-- end -->)", re.DOTALL)


def field_table(cls: type[Any]) -> str:
    """Returns the fields of a config dataclass as a Markdown table: name, default, and the words of its docstring."""
    words = field_descriptions(cls)
    rows = ["| key | default | effect |", "|---|---|---|"]
    for field in dataclasses.fields(cls):
        rows.append(f"| `{field.name}` | {_default(field)} | {words[field.name]} |")
    return "\n".join(rows) + "\n"


def _default(field: dataclasses.Field[Any]) -> str:
    """Returns a field's default as code; of a nested config only its name, since it has a table of its own."""
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    elif field.default is not dataclasses.MISSING:
        value = field.default
    else:
        return "required"
    if dataclasses.is_dataclass(value) and value == type(value)():
        return f"`{type(value).__name__}()`"
    return f"`{value!r}`"


def render(page: str) -> str:
    """Returns the page with every table made anew."""

    def filled(place: re.Match[str]) -> str:
        cls = getattr(importlib.import_module(place["module"]), place["name"])
        return f"{place[1]}{field_table(cls)}{place[5]}"

    return PLACE.sub(filled, page)


if __name__ == "__main__":
    for page in (PAGE, ROS_PAGE):
        page.write_text(render(page.read_text()))
