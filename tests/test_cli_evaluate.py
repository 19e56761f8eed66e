"""Laws of `policytrim evaluate` and `policytrim sweep` on a small clone."""

from __future__ import annotations

import json

import pytest

from policytrim_gym.cli.main import main


@pytest.fixture(scope="module")
def clone_folder(tmp_path_factory):
    pytest.importorskip("metaworld")
    folder = tmp_path_factory.mktemp("runs") / "base"
    settings = ["gradient_steps=5", "hidden_size=8", "chunk_size=8", "execute_horizon=4"]
    # Demonstrations need the whole time limit; the checkpoint's own limit is what the commands shall take over.
    assert main(["clone", "--out", str(folder), "--env-kwargs", "tasks=[reach-v3,push-v3]", "--demos", "1", "--set", *settings]) == 0
    facts = json.loads((folder / "policytrim.json").read_text())
    facts["env_kwargs"]["max_episode_steps"] = 40
    (folder / "policytrim.json").write_text(json.dumps(facts))
    return folder


@pytest.mark.slow
def test_evaluate_takes_env_and_horizon_from_the_checkpoint(clone_folder, capsys):
    command = ["evaluate", "--policy", str(clone_folder), "--episodes", "4", "--workers", "0"]
    assert main([*command, "--json", "-"]) == 0
    arm = json.loads(capsys.readouterr().out)
    assert (arm["execute_horizon"], len(arm["episodes"])) == (4, 4)
    assert {episode["task"] for episode in arm["episodes"]} == {"reach-v3", "push-v3"}
    assert all(episode["steps"] <= 40 for episode in arm["episodes"])

    assert main([*command, "--horizon", "8", "--env-kwargs", "tasks=[reach-v3]"]) == 0
    out = capsys.readouterr().out
    assert "h=8" in out and "push-v3" not in out


@pytest.mark.slow
def test_sweep_runs_every_pair_and_names_the_strongest(clone_folder, capsys):
    command = ["sweep", "--policy", str(clone_folder), "--episodes", "2", "--workers", "0", "--playback-rates", "2"]
    assert main([*command, "--json", "-"]) == 0
    sweep = json.loads(capsys.readouterr().out)
    settings = {(arm["execute_horizon"], arm["playback_rate"]) for arm in sweep["arms"]}
    assert settings == {(horizon, rate) for horizon in (4, 8) for rate in (1.0, 2.0)}
    assert {sweep["stock"], sweep["largest_not_inferior"], sweep["best_untrained"]["name"], *sweep["front"]} <= {
        a["name"] for a in sweep["arms"]
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--horizon", "9"], "1..8 (chunk_size), got 9"),
        (["--episodes", "3"], "got 3"),
        (["--delay", "6"], "6"),
        (["--episodes", "10000"], "5000"),
    ],
)
def test_evaluate_refuses_settings_that_cannot_run_in_one_line(clone_folder, capsys, arguments, expected):
    capsys.readouterr()
    assert main(["evaluate", "--policy", str(clone_folder), "--workers", "0", *arguments]) == 1
    error = [line for line in capsys.readouterr().err.replace("\r", "\n").splitlines() if line.startswith("policytrim: error")]
    assert len(error) == 1 and expected in error[0]
