"""An experiment refuses what cannot work before it spends anything, and leaves the folder as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from policytrim_gym.errors import InvalidConfig, InvalidHorizon, UnknownTask
from policytrim_gym.experiments.config import ExperimentConfig, demo_config
from policytrim_gym.experiments.run import Experiment
from policytrim_gym.training.clone import CloneConfig
from policytrim_gym.training.trim_config import TrimConfig
from policytrim_gym.training.warm_start import WarmStartConfig


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"sweep_states": 251}, r"sweep_states must be in 1\.\.250 .* got 251"),
        ({"test_states": 0}, r"test_states must be in 1\.\.250 .* got 0"),
        ({"trim": TrimConfig(validation_states=251)}, r"trim.validation_states must be in 1\.\.250 .* got 251"),
        ({"trim": TrimConfig(warm_start=WarmStartConfig(states_per_task=1001))}, r"states_per_task must be in 1\.\.1000 .* got 1001"),
        ({"clone": CloneConfig(demos_per_task=1001)}, r"clone.demos_per_task must be in 1\.\.1000 .* got 1001"),
        ({"horizons": (8, 33)}, r"horizons must be in 1\.\.32 .* got 33"),
        ({"ensemble_horizon": 33}, r"ensemble_horizon must be in 1\.\.32 .* got 33"),
        ({"trim": TrimConfig(windows=(8, 33))}, r"trim.windows must be in 1\.\.32 .* got 33"),
        ({"delays": (17,)}, r"delays must be in 0\.\.16 .* got 17"),
        ({"playback_rates": (0.0,)}, "playback_rates must be above 0, got 0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_setting_that_cannot_work_is_refused_before_the_clone(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises((InvalidConfig, InvalidHorizon), match=expected):
        ExperimentConfig(**settings)


def test_a_misspelt_task_leaves_no_trace(tmp_path: Path) -> None:
    pytest.importorskip("metaworld")
    with pytest.raises(UnknownTask, match="did you mean 'reach-v3'"):
        Experiment(ExperimentConfig(tasks=("raech-v3",)), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_does_not_become_an_experiment(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(InvalidConfig, match="holds a checkpoint and no experiment"):
        Experiment(demo_config(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_an_experiment_goes_on_with_its_own_settings_only(tmp_path: Path) -> None:
    pytest.importorskip("metaworld")
    Experiment(demo_config(), tmp_path)
    Experiment(demo_config(), tmp_path)
    with pytest.raises(InvalidConfig, match="seed=0, now it is 1"):
        Experiment(demo_config(seed=1), tmp_path)
