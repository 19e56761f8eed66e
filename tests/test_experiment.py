"""An experiment refuses what cannot work before it spends anything, leaves the folder as it was, and runs in any environment."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pacing_env
import pytest

from policytrim_gym.config import from_mapping, load_yaml, to_mapping
from policytrim_gym.errors import InvalidConfig, InvalidHorizon, InvalidSpec, UnknownTask
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
from policytrim_gym.evaluation.report.build import load_report
from policytrim_gym.evaluation.report.transfer import Transfer
from policytrim_gym.experiments.config import META_WORLD, STATE_TASKS, ExperimentConfig
from policytrim_gym.experiments.demos import arm_demo_config, arm_trim_config, demo_config
from policytrim_gym.experiments.run import Experiment
from policytrim_gym.share import share_file
from policytrim_gym.training.base_policies import MODELS
from policytrim_gym.training.clone_config import CloneConfig
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
        ({"env": "A-v0", "env_kwargs": {"engine": "a"}, "transfer_env_kwargs": {"engine": "a"}}, "must change something in env_kwargs"),
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


BEFORE_ENV_WAS_A_SETTING = """\
tasks:
- reach-v3
- push-v3
- pick-place-v3
- button-press-topdown-v3
clone: {demos_per_task: 25, gradient_steps: 2500}
trim:
  warm_start: {states_per_task: 40, gradient_steps: 1500}
  validation_states: 25
  num_validations: 5
total_timesteps: 300000
horizons: [8, 16, 32]
playback_rates: [1.0, 2.0, 3.0]
delays: [1, 3]
ensemble_horizon: 4
sweep_states: 20
test_states: 40
ablations: []
margin: 0.05
num_workers: 2
seed: 0
"""


def test_a_folder_of_before_env_was_a_setting_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("metaworld")
    (tmp_path / "config.yaml").write_text(BEFORE_ENV_WAS_A_SETTING)
    assert load_yaml(ExperimentConfig, tmp_path / "config.yaml") == demo_config()
    experiment = Experiment(demo_config(), tmp_path)
    # What checkpoints and training states of the folder hold; another order or type would be another training.
    assert (experiment.factory.id, experiment.factory.kwargs["tasks"]) == (META_WORLD, list(demo_config().env_kwargs["tasks"]))
    assert (tmp_path / "config.yaml").read_text() == BEFORE_ENV_WAS_A_SETTING
    with pytest.raises(InvalidConfig, match="env_kwargs.tasks="):
        Experiment(ExperimentConfig(**{**vars(demo_config()), "tasks": ("reach-v3",)}), tmp_path)


@pytest.mark.parametrize("model", ["state", "tiny-vla", "pi0"])
def test_the_exploration_is_written_out_as_the_models_own(model: Literal["state", "tiny-vla", "pi0"]) -> None:
    config = ExperimentConfig(clone=CloneConfig(model=model))
    own = MODELS[model].explorer(config.clone)
    assert (config.trim.exploration_start, config.trim.exploration_end) == (own.exploration_start, own.exploration_end)
    given = replace(config, trim=replace(config.trim, exploration_start=dict(own.exploration_end)))
    assert given.trim.exploration_start == own.exploration_end


def test_tasks_are_short_for_those_in_env_kwargs() -> None:
    assert ExperimentConfig().env_kwargs == {"tasks": list(STATE_TASKS)}
    short = ExperimentConfig(tasks=("reach-v3",))
    assert short == ExperimentConfig(env_kwargs={"tasks": ["reach-v3"]}) == from_mapping(ExperimentConfig, to_mapping(short))
    assert ExperimentConfig(env="Other-v0").env_kwargs == {}
    assert replace(demo_config(), tasks=("reach-v3",)).env_kwargs == {"tasks": ["reach-v3"]}


def test_the_arms_demo_is_a_transfer_from_mujoco_to_pybullet() -> None:
    config = arm_demo_config(seed=2)
    assert from_mapping(ExperimentConfig, to_mapping(config)) == config
    assert ({**config.env_kwargs, **(config.transfer_env_kwargs or {})}, config.seed) == ({"task": "push", "engine": "pybullet"}, 2)


SMALL = ExperimentConfig(
    env=pacing_env.ID,
    env_kwargs={"wind": 0.0},
    clone=CloneConfig(demos_per_task=4, chunk_size=8, execute_horizon=2, hidden_size=16, gradient_steps=150, batch_size=32),
    trim=TrimConfig(
        warm_start=WarmStartConfig(playback_rates=(1.0, 2.0), states_per_task=4, gradient_steps=20, batch_size=32),
        validation_states=4,
        num_validations=1,
    ),
    total_timesteps=1500,
    horizons=(2, 8),
    playback_rates=(1.0,),
    delays=(),
    ensemble_horizon=1,
    sweep_states=4,
    test_states=5,
    ablations=(),
    num_workers=1,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A whole experiment in an environment that is not ours, and what it said."""
    folder, said = tmp_path_factory.mktemp("experiment"), list[str]()
    Experiment(SMALL, folder, say=said.append).run()
    return folder, said


@pytest.mark.slow
def test_an_experiment_runs_in_any_environment_that_has_an_expert(finished: tuple[Path, list[str]]) -> None:
    folder, said = finished
    report = load_report(folder / "report.json")
    assert report["env"] == "Pacing-v0 near, far (wind=0.0)" and "transfer" not in report
    assert {episode["task"] for episode in report["baseline"]["episodes"]} == {"near", "far"}
    assert report["reference"]["name"] == "saturated expert" and report["reference"]["success_rate"] == 1.0
    assert any("draws no frames" in line for line in said) and not (folder / "side-by-side.gif").exists()


@pytest.mark.slow
def test_a_base_that_is_there_is_not_cloned_anew(finished: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policytrim_gym.experiments.run.clone_into", lambda *arguments: pytest.fail("cloned anew"))
    Experiment(SMALL, tmp_path / "run", say=lambda line: None, base=finished[0] / "base").run()
    here, there = (EfficiencyReport.from_json(load_report(folder / "report.json")["trimmed"]) for folder in (tmp_path / "run", finished[0]))
    assert [episode.steps for episode in here.episodes] == [episode.steps for episode in there.episodes]
    with pytest.raises(InvalidConfig, match=r"clone with other settings: demos_per_task=4, now it is 5"):
        Experiment(replace(SMALL, clone=replace(SMALL.clone, demos_per_task=5)), tmp_path / "other", base=finished[0] / "base")
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_a_transfer_is_added_to_a_finished_folder(finished: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder = shutil.copytree(finished[0], tmp_path / "run")
    before = load_report(folder / "report.json")
    after = Experiment(replace(SMALL, transfer_env_kwargs={"wind": 0.01}), folder, say=lambda line: None).run()
    transfer = Transfer.from_json(after["transfer"])
    assert (transfer.home, transfer.away) == ("wind=0.0", "wind=0.01")
    assert (transfer.stock.name, transfer.trimmed.name) == ("stock in wind=0.01", "trimmed in wind=0.01")
    assert transfer.stock.execute_horizon == SMALL.clone.execute_horizon
    here = EfficiencyReport.from_json(after["baseline"])
    assert transfer.stock.episode_keys() == here.episode_keys()
    assert sum(episode.steps for episode in transfer.stock.episodes) > sum(episode.steps for episode in here.episodes)  # against the wind
    assert after["baseline"] == before["baseline"] and after["trimmed"] == before["trimmed"]
    assert "Sim to sim" in (folder / "report.html").read_text()


@pytest.mark.slow
def test_without_a_saturated_expert_the_report_has_no_reference(finished: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder = shutil.copytree(finished[0], tmp_path / "run")
    (folder / "arms" / "saturated_expert.json").unlink()
    held = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(held.replace("wind: 0.0", "wind: 0.0\n  experts: [slow-uneven]"))
    said: list[str] = []
    config = replace(SMALL, env_kwargs={"wind": 0.0, "experts": ["slow-uneven"]})
    report = Experiment(config, folder, say=said.append).run()
    assert report["reference"] is None and any("no reference" in line and "'saturated'" in line for line in said)


def test_a_transfer_that_cannot_be_made_leaves_no_trace(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="breeze"):
        Experiment(replace(SMALL, transfer_env_kwargs={"breeze": 1}), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_the_arms_settings_as_a_file_are_those_of_its_table() -> None:
    assert load_yaml(TrimConfig, share_file("config/trim_arm.yaml")) == arm_trim_config()
