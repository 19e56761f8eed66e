"""Laws of `policytrim evaluate` and `policytrim sweep` on a small clone."""

from __future__ import annotations

import json

import numpy as np
import pytest

from policytrim_gym.cli.main import main
from policytrim_gym.policy import CallablePolicy
from policytrim_gym.spec import PolicySpec

PENDULUM = ["--policy", "python:test_cli_evaluate:idle_policy", "--env", "Pendulum-v1", "--workers", "0", "--episodes", "1"]


def idle_policy():
    """Runs whole chunks of 8 on Pendulum-v1."""
    return CallablePolicy(lambda observation: np.zeros((8, 1)), PolicySpec(chunk_size=8, action_dim=1))


@pytest.mark.parametrize("command", ["evaluate", "sweep"])
def test_a_policy_that_knows_no_environment_is_not_evaluated_in_one_that_it_was_not_made_for(command, capsys):
    assert main([command, *PENDULUM[:2]]) == 1
    assert "give --env or --env-kwargs" in capsys.readouterr().err


def test_a_delay_cuts_the_policys_own_horizon_but_not_a_given_one(capsys):
    assert main(["evaluate", *PENDULUM, "--delay", "3"]) == 0
    where, cut, _, arm = capsys.readouterr().out.splitlines()
    assert where == "Pendulum-v1: 1 test episodes" and cut == "horizon 5 in place of 8: a delay of 3 leaves no more of 8"
    assert arm.split()[:4] == ["h=5", "delay", "3", "5"]
    assert main(["evaluate", *PENDULUM, "--delay", "3", "--horizon", "8"]) == 1
    assert "must be in 3..5" in capsys.readouterr().err


def test_the_context_leaves_stdout_to_the_json(capsys):
    assert main(["evaluate", *PENDULUM, "--json", "-"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["execute_horizon"] == 8 and "Pendulum-v1" in captured.err


@pytest.mark.parametrize(
    "arguments",
    [["evaluate", *PENDULUM, "--horizon", "9"], ["evaluate", *PENDULUM, "--delay", "5"], ["sweep", *PENDULUM, "--horizons", "9"]],
)
def test_no_empty_bar_stands_before_an_error(arguments, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("policytrim: error: ") and error.count("\n") == 1


def test_an_environment_without_continuous_actions_is_named_by_its_id(capsys):
    assert main(["evaluate", *PENDULUM[:2], "--env", "CartPole-v1"]) == 1
    assert capsys.readouterr().err.endswith("(Box), CartPole-v1 has Discrete(2)\n")


def test_sweep_says_how_much_success_the_longest_horizon_may_lose(capsys):
    assert main(["sweep", *PENDULUM, "--horizons", "4"]) == 0
    assert "stock: h=8, success 0.0 %; longest horizon within 5 points of it: 8, success 0.0 %" in capsys.readouterr().out


def test_horizons_are_separated_by_spaces_or_commas(capsys):
    tables = []
    for horizons in (["2,4"], ["2", "4"]):
        assert main(["sweep", *PENDULUM, "--horizons", *horizons, "--json", "-"]) == 0
        tables.append([arm["name"] for arm in json.loads(capsys.readouterr().out)["arms"]])
    assert tables[0] == tables[1] and {"h=2", "h=4", "h=8"} <= set(tables[0])
    with pytest.raises(SystemExit):
        main(["sweep", *PENDULUM, "--horizons", "2,x"])
    assert "expected an integer of at least 1, got 'x'" in capsys.readouterr().err


def test_a_policy_behind_a_server_is_reported_with_its_latency(capsys):
    pytest.importorskip("websockets")
    from policytrim_gym.serving.openpi_server import OpenpiServer

    with OpenpiServer(CallablePolicy(lambda observation: np.zeros((8, 1)), PolicySpec(8, 1, control_dt_s=0.05)), port=0) as server:
        remote = ["--policy", f"ws://127.0.0.1:{server.port}", *PENDULUM[2:]]
        assert main(["sweep", *remote, "--horizons", "4"]) == 0
        assert "; an arm that does not wait runs up to 1 of its 0.05 s steps meanwhile: --delay 1" in capsys.readouterr().out
        assert main(["evaluate", *remote, "--json", "-"]) == 0
        arm = json.loads(capsys.readouterr().out)
    latency = arm["latency"]
    assert latency["num_calls"] == arm["num_replans_mean"] == 25
    assert latency["p99_s"] >= latency["p50_s"] >= latency["server_p50_s"] > 0
    assert main(["evaluate", *PENDULUM, "--json", "-"]) == 0
    assert "latency" not in json.loads(capsys.readouterr().out)


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
