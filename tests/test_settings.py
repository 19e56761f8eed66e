"""Laws of the settings that a folder of results stands for."""

from __future__ import annotations

from pathlib import Path

import pytest

from policytrim_gym.errors import InvalidConfig
from policytrim_gym.experiments.settings import keep_settings


def test_a_folder_takes_the_results_of_its_own_settings_only(tmp_path: Path) -> None:
    settings = {"horizon": 16, "ppo": {"n_steps": 24}, "policy": ("base",)}
    keep_settings(tmp_path, settings)
    before = (tmp_path / "settings.json").read_bytes()
    keep_settings(tmp_path, settings)
    with pytest.raises(InvalidConfig, match=r"holds results with ppo.n_steps=24, now it is 32; choose another folder"):
        keep_settings(tmp_path, {**settings, "ppo": {"n_steps": 32}})
    assert (tmp_path / "settings.json").read_bytes() == before
