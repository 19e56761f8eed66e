"""The settings that a folder of results stands for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policytrim_gym.differences import first_difference
from policytrim_gym.errors import InvalidConfig
from policytrim_gym.files import write_json_atomic

SETTINGS_FILE = "settings.json"


def keep_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Writes the settings into settings.json of a folder that has none yet, and refuses others than it holds.

    An `ArmStore` knows its arms by name alone; those of other settings would be taken for these.

    Args:
        folder: of the results.
        settings: everything that decides them, ready for JSON.

    Raises:
        InvalidConfig: the folder holds results of other settings; the message names the first difference.
    """
    file = folder / SETTINGS_FILE
    if file.exists():
        difference = first_difference(json.loads(file.read_text(encoding="utf-8")), json.loads(json.dumps(settings)))
        if difference is not None:
            raise InvalidConfig(f"{folder} holds results with {difference}; choose another folder")
    else:
        write_json_atomic(file, settings)
