"""Laws of `policytrim clone`: a checkpoint that knows where it comes from, made once."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from policytrim_gym.cli.main import main
from policytrim_gym.config import to_mapping
from policytrim_gym.errors import CannotWrite, CorruptCheckpoint
from policytrim_gym.policies.checkpoint_facts import CheckpointFacts, load_facts
from policytrim_gym.run_folder import check_writable
from policytrim_gym.training.clone import CloneConfig

SMALL = ["--demos", "2", "--set", "gradient_steps=5", "hidden_size=8", "chunk_size=8", "execute_horizon=4"]


def test_facts_come_back_as_they_were_saved(tmp_path):
    facts = CheckpointFacts(8, "A-v0", {"tasks": ["a", "b"]}, {"tasks": {}}, {"seed": 0}, {"success": 0.5})
    facts.save(tmp_path)
    assert load_facts(tmp_path) == facts
    assert load_facts(tmp_path / "elsewhere") is None


@pytest.mark.parametrize("text", ["", '{"execute_horizon": 8', '{"execute_horizon": "8"}', "[]", '{"execute_horizon": 8, "envv": "A"}'])
def test_corrupt_facts_are_refused_by_name(tmp_path, text):
    (tmp_path / "policytrim.json").write_text(text)
    with pytest.raises(CorruptCheckpoint, match="policytrim.json"):
        load_facts(tmp_path)


@pytest.mark.slow
def test_clone_makes_a_checkpoint_once_and_refuses_to_mix(tmp_path, capsys):
    pytest.importorskip("metaworld")
    command = ["clone", "--out", str(tmp_path / "base"), "--env-kwargs", "tasks=[reach-v3]", "--workers", "1", *SMALL]
    assert main(command) == 0
    weights = tmp_path / "base" / "model.safetensors"
    made = weights.stat().st_mtime_ns
    facts = load_facts(tmp_path / "base")
    assert facts is not None
    assert (facts.env, facts.env_kwargs, facts.execute_horizon) == ("PolicyTrim/MetaWorld-v0", {"tasks": ["reach-v3"]}, 4)
    assert facts.demonstrations is not None and facts.demonstrations["tasks"]["reach-v3"]["kept"] == 2
    capsys.readouterr()

    assert main([*command, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"]["reach-v3"]["kept"] == 2
    assert main([*command, "--seed", "1"]) == 1
    assert "other settings" in capsys.readouterr().err
    assert weights.stat().st_mtime_ns == made


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--env-kwargs", "tasks=[raech-v3]"], "did you mean 'reach-v3'"),
        (["--set", "gradient_setps=5"], "gradient_steps"),
        (["--env", "No-v0"], "`No` doesn't exist.\n"),
        (["--env", "Pendulum-v1"], "Pendulum-v1 has no scripted expert"),
        (
            ["--model", "pi0"],
            "model pi0 needs image_<camera> in the observations of PolicyTrim/MetaWorld-v0 (observation=pixels), got ['state']",
        ),
        (["--set", "pi0={patch_size: 7}"], "image_size must be a multiple of patch_size (7), got 64"),
    ],
)
def test_clone_refuses_what_it_does_not_know_in_one_line(tmp_path, capsys, arguments, expected):
    assert main(["clone", "--out", str(tmp_path / "base"), *arguments]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and expected in err
    assert not (tmp_path / "base").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["image_size=16"], "image_size must be an integer of at least 32, got 16"),
        (["--set", "tiny_vla={prompt_length: 2}"], 'observation["instruction"] must have 1 to 2 tokens (prompt_length), got 3'),
    ],
)
def test_what_the_model_cannot_see_or_read_is_refused_before_the_demonstrations(tmp_path, capsys, arguments, expected):
    pytest.importorskip("metaworld")
    pixels = ["--env-kwargs", "tasks=[door-open-v3]", "observation=pixels"]
    command = ["clone", "--out", str(tmp_path / "base"), "--model", "tiny-vla", *pixels, *arguments]
    assert main(command) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and expected in err
    assert not (tmp_path / "base").exists()


@pytest.fixture
def cloned(tmp_path):
    """A folder with what `clone` leaves, but for its weights."""
    settings = to_mapping(CloneConfig().for_tasks(1))
    demonstrations = {"demonstrator": "slow-uneven", "tasks": {"reach-v3": {"kept": 240, "failed": 0, "steps_mean": 60.0}}}
    facts = CheckpointFacts(8, "PolicyTrim/MetaWorld-v0", {"tasks": ["reach-v3"]}, demonstrations, settings)
    facts.save(tmp_path)
    (tmp_path / "model.safetensors").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--demos", "3"], "demos_per_task=240, now it is 3"),
        (["--env-kwargs", "tasks=push-v3"], "env_kwargs.tasks=['reach-v3'], now it is ['push-v3']"),
        (["--env", "Pendulum-v1"], "env='PolicyTrim/MetaWorld-v0', now it is 'Pendulum-v1'"),
    ],
)
def test_a_clone_with_other_settings_is_refused_by_the_first_difference(cloned, capsys, arguments, expected):
    tasks = [] if "--env-kwargs" in arguments else ["--env-kwargs", "tasks=reach-v3"]
    assert main(["clone", "--out", str(cloned), *tasks, *arguments]) == 1
    assert expected in capsys.readouterr().err


def test_one_task_alone_is_the_list_of_it(cloned):
    assert main(["clone", "--out", str(cloned), "--env-kwargs", "tasks=reach-v3"]) == 0


def test_an_environment_with_its_module_before_it_is_the_same(cloned):
    env = ["--env", "policytrim_gym:PolicyTrim/MetaWorld-v0", "--env-kwargs", "tasks=reach-v3"]
    assert main(["clone", "--out", str(cloned), *env]) == 0


def test_a_folder_from_before_there_were_models_is_the_same_clone(cloned, capsys):
    facts = load_facts(cloned)
    replace(facts, settings={key: value for key, value in facts.settings.items() if key not in ("model", "pi0")}).save(cloned)
    assert main(["clone", "--out", str(cloned), "--env-kwargs", "tasks=reach-v3"]) == 0
    assert main(["clone", "--out", str(cloned), "--env-kwargs", "tasks=reach-v3", "--model", "pi0"]) == 1
    assert "model='state', now it is 'pi0'" in capsys.readouterr().err


def test_a_checkpoint_that_is_no_clone_is_kept(cloned, capsys):
    (cloned / "policytrim.json").unlink()
    assert main(["clone", "--out", str(cloned)]) == 1
    assert "no clone" in capsys.readouterr().err
    assert sorted(path.name for path in cloned.iterdir()) == ["model.safetensors"]


def test_a_folder_that_cannot_be_written_is_refused_before_the_demonstrations(tmp_path, capsys):
    pytest.importorskip("metaworld")
    (tmp_path / "file").touch()
    assert main(["clone", "--out", str(tmp_path / "file")]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "cannot write into" in err


def test_the_check_of_a_folder_leaves_nothing_behind(tmp_path):
    check_writable(tmp_path / "new" / "folder")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(CannotWrite, match="cannot write into"):
            check_writable(place)
