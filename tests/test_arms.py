"""Laws of the store of evaluated arms."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_arms import synthetic_arm

from policytrim_gym.errors import CorruptReport
from policytrim_gym.experiments.arms import ArmStore


def test_an_arm_is_evaluated_once_and_found_again(tmp_path: Path) -> None:
    evaluated = []

    def evaluate():
        evaluated.append(True)
        return synthetic_arm("another name", num_states=2)

    name = "h=8 x1.5"
    assert ArmStore(tmp_path).find(name) is None and not list(tmp_path.iterdir())
    arm = ArmStore(tmp_path).get(name, evaluate)
    assert arm == ArmStore(tmp_path).get(name, evaluate) == ArmStore(tmp_path).find(name)
    assert arm == synthetic_arm("another name", num_states=2).renamed(name)
    assert len(evaluated) == 1 and ArmStore(tmp_path).find("h=8") is None


def test_a_truncated_arm_is_not_taken_for_a_missing_one(tmp_path: Path) -> None:
    ArmStore(tmp_path).get("h=8", lambda: synthetic_arm("h=8", num_states=2))
    file = next(tmp_path.iterdir())
    file.write_text(file.read_text()[:100])
    for look in (lambda: ArmStore(tmp_path).find("h=8"), lambda: ArmStore(tmp_path).get("h=8", lambda: synthetic_arm("h=8"))):
        with pytest.raises(CorruptReport, match="delete it"):
            look()
