"""Laws of `policytrim demo`: which experiment it is, and where it goes."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

pytest.importorskip("torch")  # the extra "train", which an experiment needs

from policytrim_gym.cli import demo
from policytrim_gym.cli.main import COMMANDS, build_parser, main
from policytrim_gym.experiments.config import ARM, ExperimentConfig
from policytrim_gym.experiments.demos import arm_demo_config, demo_config, pixels_demo_config
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.training.clone import held_clone

BASE = Path(__file__).resolve().parents[1] / "checkpoints" / "pixels-gaussian" / "base"


def options_of(*arguments: str) -> argparse.Namespace:
    return build_parser("demo", COMMANDS).parse_args(["demo", *arguments])


def config_of(*arguments: str) -> ExperimentConfig:
    return demo.config_of(options_of(*arguments))


def test_the_demo_is_that_of_meta_worlds_states_unless_another_is_asked_for() -> None:
    assert config_of() == demo_config()
    assert config_of("--arm", "--seed", "3") == arm_demo_config(seed=3)
    assert config_of("--pixels") == pixels_demo_config()


def test_two_demos_at_once_are_refused(capsys) -> None:
    with pytest.raises(SystemExit):
        options_of("--arm", "--pixels")
    assert "not allowed with argument --arm" in capsys.readouterr().err


def test_single_settings_replace_those_of_either_demo() -> None:
    assert config_of("--set", "tasks=[reach-v3]").env_kwargs == {"tasks": ["reach-v3"]}
    arm = config_of("--arm", "--set", "test_states=5", "transfer_env_kwargs=null")
    assert (arm.env, arm.test_states, arm.transfer_env_kwargs) == (ARM, 5, None)


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [
        ([], "runs/demo"),
        (["--arm"], "runs/demo-arm"),
        (["--pixels", "--base", "checkpoint"], "runs/demo-pixels"),
        (["--arm", "--out", "elsewhere"], "elsewhere"),
    ],
)
def test_each_demo_has_its_own_folder(monkeypatch, arguments: list[str], folder: str) -> None:
    class Found(Exception):
        pass

    def experiment(config: ExperimentConfig, out: Path, say: object, base: Path | None) -> None:
        assert base == (Path("checkpoint") if "--base" in arguments else None)
        raise Found(out)

    monkeypatch.setattr("policytrim_gym.experiments.run.Experiment", experiment)
    with pytest.raises(Found, match=f"^{folder}$"):
        demo.run(options_of(*arguments))


@pytest.mark.parametrize("flag", ["--arm", "--pixels"])
def test_another_demo_does_not_go_with_a_configuration_of_ones_own(tmp_path: Path, capsys, flag: str) -> None:
    (tmp_path / "my.yaml").write_text("seed: 1")
    assert main(["demo", flag, "--config", str(tmp_path / "my.yaml")]) == 1
    assert f"{flag} is a demo with settings of its own; give it without --config" in capsys.readouterr().err


def test_the_demo_from_pixels_starts_from_the_checkpoint_of_the_repository() -> None:
    pytest.importorskip("transformers")
    config = pixels_demo_config()
    facts = held_clone(BASE, EnvFactory(config.env, config.env_kwargs), config.clone_config())
    assert facts.execute_horizon == 6


def test_a_base_that_is_another_clone_is_refused_and_the_folder_stays_empty(tmp_path: Path, capsys) -> None:
    pytest.importorskip("metaworld")
    out = tmp_path / "run"
    assert main(["demo", "--pixels", "--base", str(BASE), "--out", str(out), "--seed", "1"]) == 1
    assert "holds a clone with other settings: seed=0, now it is 1" in capsys.readouterr().err
    assert main(["demo", "--pixels", "--base", str(BASE.parent / "trimmed"), "--out", str(out)]) == 1
    assert "holds a checkpoint that is no clone" in capsys.readouterr().err
    assert not out.exists()
