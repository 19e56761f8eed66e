"""Laws of `policytrim clone`: a checkpoint that knows where it comes from, made once."""

from __future__ import annotations

import json

import pytest

from policytrim_gym.cli.main import main
from policytrim_gym.errors import CorruptCheckpoint
from policytrim_gym.policies.checkpoint_facts import CheckpointFacts, load_facts

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
    ],
)
def test_clone_refuses_what_it_does_not_know_in_one_line(tmp_path, capsys, arguments, expected):
    assert main(["clone", "--out", str(tmp_path / "base"), *arguments]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and expected in err
    assert not (tmp_path / "base").exists()
