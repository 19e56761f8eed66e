"""Writes the tables of settings in docs/reference/configuration.md from the docstrings: `python docs/config_tables.py`."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent / "reference" / "configuration.md"
PLACE = re.compile(r"(<!-- fields of (?P<module>[\w.]+):(?P<name>\w+) -->\n)(?P<table>.*?)(<!-- end -->)", re.DOTALL)
ENTRY = re.compile(r"^    (?P<names>\w+(?:, \w+)*): (?P<text>.+(?:\n      +\S.*)*)", re.MULTILINE)


def field_table(cls: type[Any]) -> str:
    """Returns the fields of a config dataclass as a Markdown table: name, default, and the words of its docstring."""
    arguments = inspect.cleandoc(cls.__doc__ or "").partition("Args:\n")[2].partition("\n\n")[0]
    words = {name.strip(): " ".join(entry["text"].split()) for entry in ENTRY.finditer(arguments) for name in entry["names"].split(",")}
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
    PAGE.write_text(render(PAGE.read_text()))
