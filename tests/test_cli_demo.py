"""Laws of `policytrim demo`: which experiment it is, and where it goes."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

pytest.importorskip("torch")  # the extra "train", which an experiment needs

from policytrim_gym.cli import demo
from policytrim_gym.cli.main import COMMANDS, build_parser, main
from policytrim_gym.experiments.config import ARM, ExperimentConfig, arm_demo_config, demo_config


def options_of(*arguments: str) -> argparse.Namespace:
    return build_parser("demo", COMMANDS).parse_args(["demo", *arguments])


def config_of(*arguments: str) -> ExperimentConfig:
    return demo.config_of(options_of(*arguments))


def test_the_demo_is_that_of_meta_world_unless_the_arm_is_asked_for() -> None:
    assert config_of() == demo_config()
    assert config_of("--arm", "--seed", "3") == arm_demo_config(seed=3)


def test_single_settings_replace_those_of_either_demo() -> None:
    assert config_of("--set", "tasks=[reach-v3]").env_kwargs == {"tasks": ["reach-v3"]}
    arm = config_of("--arm", "--set", "test_states=5", "transfer_env_kwargs=null")
    assert (arm.env, arm.test_states, arm.transfer_env_kwargs) == (ARM, 5, None)


@pytest.mark.parametrize(
    ("arguments", "folder"), [([], "runs/demo"), (["--arm"], "runs/demo-arm"), (["--arm", "--out", "elsewhere"], "elsewhere")]
)
def test_each_demo_has_its_own_folder(monkeypatch, arguments: list[str], folder: str) -> None:
    class Found(Exception):
        pass

    def experiment(config: ExperimentConfig, out: Path, say: object) -> None:
        raise Found(out)

    monkeypatch.setattr("policytrim_gym.experiments.run.Experiment", experiment)
    with pytest.raises(Found, match=f"^{folder}$"):
        demo.run(options_of(*arguments))


def test_the_arm_does_not_go_with_a_configuration_of_ones_own(tmp_path: Path, capsys) -> None:
    (tmp_path / "my.yaml").write_text("seed: 1")
    assert main(["demo", "--arm", "--config", str(tmp_path / "my.yaml")]) == 1
    assert "give it without --config" in capsys.readouterr().err
