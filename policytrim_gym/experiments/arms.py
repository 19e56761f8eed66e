"""The arms of the headline table, kept as files so that a stopped evaluation goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from policytrim_gym.errors import CorruptReport
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
from policytrim_gym.files import write_atomic


class ArmStore:
    """A folder with one JSON file for each evaluated arm.

    Args:
        folder: created on the first write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, name: str) -> EfficiencyReport | None:
        """Returns the arm called `name` from its file, or None without one."""
        path = self._path(name)
        if not path.exists():
            return None
        try:
            return EfficiencyReport.from_json(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise CorruptReport(f"{path} is not a readable arm ({error}); delete it to evaluate it again") from error

    def get(self, name: str, evaluate: Callable[[], EfficiencyReport]) -> EfficiencyReport:
        """Returns the arm called `name`: from its file, or evaluated now and written."""
        arm = self.find(name)
        if arm is None:
            arm = evaluate().renamed(name)
            write_atomic(self._path(name), json.dumps(arm.to_json(), allow_nan=False))
        return arm

    def _path(self, name: str) -> Path:
        return self._folder / f"{name.replace(' ', '_').replace('=', '')}.json"
