"""Laws of the recipes: every file fits its schema, reaches the command line, and runs where its model's class exists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from gymnasium.spaces import Box, Dict
from line_env import LineEnv, slow_policy

from policytrim_gym.cli.main import main
from policytrim_gym.config import dump_yaml, from_mapping, to_mapping
from policytrim_gym.errors import InvalidConfig, InvalidHorizon, PolicyTrimError
from policytrim_gym.policies.loading import load_policy
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.training.grpo import TrimGRPO
from policytrim_gym.training.recipes import FOLDER, RECIPES, Recipe, load_recipe
from policytrim_gym.training.trim import trim

FILES = Path(__file__).parents[1] / FOLDER


def test_every_file_is_a_recipe_and_every_recipe_has_its_file() -> None:
    assert sorted(file.stem for file in FILES.glob("*.yaml")) == sorted(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_fits_its_schema_and_takes_nothing_that_is_ours(name: str) -> None:
    recipe = load_recipe(name)
    assert from_mapping(Recipe, to_mapping(recipe)) == recipe
    assert recipe.status == "not run here"
    assert "status: not run here" in (FILES / f"{name}.yaml").read_text()
    assert recipe.trim.warm_start is None and recipe.trim.horizon_tolerance == 0.0
    assert recipe.trim.windows is not None and recipe.trim.windows[0] == recipe.stock_horizon


def test_an_unknown_recipe_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(InvalidConfig, match="no recipe '../pi05'; known: groot, openvla_oft, pi05, pi0_flow_sde"):
        load_recipe("../pi05")


@pytest.mark.parametrize(
    ("changes", "error"),
    [({"stock_horizon": 16}, InvalidHorizon), ({"status": "surely works"}, InvalidConfig), ({"chunk_size": 8}, InvalidHorizon)],
)
def test_a_recipe_that_contradicts_itself_is_refused(changes: dict, error: type[PolicyTrimError]) -> None:
    with pytest.raises(error):
        replace(load_recipe("pi05"), **changes)


def test_the_help_of_trim_names_every_recipe(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["trim", "--help"])
    assert ", ".join(RECIPES) in " ".join(capsys.readouterr().out.split())


def test_recipe_and_config_exclude_each_other(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "trim.yaml").write_text(dump_yaml(load_recipe("pi05").trim))
    arguments = ["trim", "--policy", "x", "--out", str(tmp_path / "out"), "--recipe", "pi05", "--config", str(tmp_path / "trim.yaml")]
    assert main(arguments) == 1
    assert "choose one" in capsys.readouterr().err


class SeenLineEnv(LineEnv):
    """The line with a picture that is grey."""

    def __init__(self) -> None:
        super().__init__(max_steps=20)
        self.observation_space = Dict({"state": Box(-np.inf, np.inf, (2,), np.float32), "image_front": Box(0, 255, (28, 28, 3), np.uint8)})

    def _observe(self) -> dict[str, np.ndarray]:
        return {**super()._observe(), "image_front": np.full((28, 28, 3), 128, np.uint8)}


def test_the_recipe_for_pi0_trims_a_small_one(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from policytrim_gym.policies.pi0 import Pi0Policy
    from policytrim_gym.policies.pi0_interface import Pi0Interface
    from policytrim_gym.policies.pi0_small import SmallPi0Config, small_pi0_policy

    recipe = load_recipe("pi0_flow_sde")
    interface = Pi0Interface(("front",), execute_horizon=recipe.stock_horizon, prompt_length=8, batch_block=8)
    small = SmallPi0Config(hidden_size=32, num_layers=2, vision_layers=2, image_size=28, patch_size=14, num_inference_steps=2)
    base = small_pi0_policy(2, 1, [LineEnv.instruction], chunk_size=recipe.chunk_size, config=small, interface=interface)
    base.save_pretrained(str(tmp_path / "base"))
    config = replace(recipe.trim, validation_states=2, num_validations=1, num_workers=0)
    trainer = trim(str(tmp_path / "base"), EnvFactory(SeenLineEnv), tmp_path / "out", config, 400, progress_bar=False)
    assert trainer.state.phase == "done"
    trimmed = load_policy(str(tmp_path / "out"))
    assert isinstance(trimmed, Pi0Policy)
    assert trimmed.spec.horizon == trainer.state.execute_horizon


def test_exploration_of_another_policy_is_refused_before_anything_runs(tmp_path: Path) -> None:
    config = replace(load_recipe("pi05").trim, windows=None, num_workers=0)
    with pytest.raises(InvalidConfig, match="exploration of this policy has action_std and gain_std, got .'noise'."):
        TrimGRPO(slow_policy(), LineEnv, config)
