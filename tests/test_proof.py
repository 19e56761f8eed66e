"""Laws of a checkpoint's proof: it is whole, it is about one setting, and whoever runs the policy otherwise is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import pytest
from line_env import LineEnv

from policytrim_gym.cli.main import main
from policytrim_gym.errors import CorruptCheckpoint, InvalidConfig, InvalidHorizon
from policytrim_gym.evaluation.evaluate import Evaluator
from policytrim_gym.evaluation.statistics import wilson_interval
from policytrim_gym.policies.checkpoint_facts import SCHEMA, CheckpointFacts, load_facts, warn_unproven
from policytrim_gym.policies.loading import load_policy
from policytrim_gym.policies.model_card import write_facts
from policytrim_gym.policies.proof import Proof, RunSetting, UnprovenSetting, unproven_settings
from policytrim_gym.policies.state_policy import StatePolicy, StatePolicyConfig
from policytrim_gym.policies.word_tokenizer import WordTokenizer
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.training.train_state import TrainState
from policytrim_gym.training.trim_config import TrimConfig
from policytrim_gym.training.trim_facts import stage1_facts, trimmed_facts

ENV = "TimedLine-v0"
PROVEN = RunSetting("Some/Env-v0", {"tasks": ["reach", "push"], "engine": "mujoco"}, ("reach", "push"), 0.05, 32, 24, 0, 1.0)


class TimedLine(LineEnv):
    """A line with a control rate and named tasks."""

    def __init__(self, control_dt_s: float = 0.05, tasks: tuple[str, ...] = ("near",)) -> None:
        super().__init__(max_steps=12)
        self.control_dt_s, self.tasks = control_dt_s, tuple(tasks)


if ENV not in gym.registry:
    gym.register(ENV, entry_point=TimedLine)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of chunk size 8 whose horizon 4 has evidence on validation states."""
    config = StatePolicyConfig(2, 1, chunk_size=8, execute_horizon=4, action_kinds=("delta",), hidden_size=8, num_layers=1)
    path = tmp_path / "run"
    StatePolicy(config, WordTokenizer.from_texts([LineEnv.instruction])).save_pretrained(str(path))
    evidence = {"finished": True, "validation": {"execute_horizon": 4, "validation_success": 0.5}}
    settings = {"seed": 3}
    write_facts(path, CheckpointFacts(4, ENV, {}, None, settings, evidence, ("near",), 0.05, chunk_size=8, proven_on="2026-11-26"))
    return path


def evaluate(folder: Path, *arguments: str) -> int:
    return main(["evaluate", "--policy", str(folder), "--workers", "0", "--episodes", "2", *arguments])


def warnings_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.replace("\r", "\n").splitlines() if "warning" in line]


# The comparison.


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"env": "Other-v0"}, "env is Other-v0, proven in Some/Env-v0"),
        ({"tasks": ("push", "lift")}, "tasks include lift, proven on reach, push"),
        ({"env_kwargs": {"engine": "pybullet"}}, "env's engine is 'pybullet', proven with 'mujoco'"),
        ({"control_dt_s": 0.1}, "control_dt_s is 0.1 s, proven with 0.05 s"),
        ({"chunk_size": 16}, "chunk_size is 16, proven with 32"),
        ({"inference_delay_steps": 3}, "inference_delay_steps is 3, proven with 0"),
        ({"playback_rate": 1.5}, "playback_rate is 1.5, proven with 1"),
        ({"execute_horizon": 25}, "execute_horizon is 25, proven up to 24"),
    ],
)
def test_each_difference_is_one_line_with_both_values(change: dict, line: str) -> None:
    assert unproven_settings([PROVEN], replace(PROVEN, **change)) == (line,)
    (name,) = change
    unknown = {} if name == "env_kwargs" else None
    assert unproven_settings([PROVEN], replace(PROVEN, **{name: unknown})) == ()
    if name not in ("tasks", "env_kwargs"):  # what the arguments say of the tasks still stands
        assert unproven_settings([replace(PROVEN, **{name: unknown})], replace(PROVEN, **change)) == ()


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"execute_horizon": 8},
        {"tasks": ("push",), "env_kwargs": {"tasks": "push"}},
        {"tasks": None, "env_kwargs": {"tasks": ("push", "reach")}},
        {"env": "some_package:Some/Env-v0"},
        {"env_kwargs": {"observation": "state", "max_episode_steps": 10, "render_mode": "rgb_array"}},
        {"control_dt_s": 0.05 * (1 + 1e-9)},
    ],
    ids=str,
)
def test_what_is_no_difference_is_not_told(change: dict) -> None:
    assert unproven_settings([PROVEN], replace(PROVEN, **change)) == ()


def test_without_a_proof_there_is_nothing_to_differ_from_and_with_several_the_nearest_counts() -> None:
    assert unproven_settings([], PROVEN) == () == unproven_settings(CheckpointFacts(8, "A-v0").proven_settings, RunSetting("B-v0"))
    delayed = replace(PROVEN, inference_delay_steps=3, execute_horizon=16)
    assert unproven_settings([PROVEN, delayed], delayed) == ()
    assert unproven_settings([PROVEN, delayed], replace(delayed, execute_horizon=25)) == ("execute_horizon is 25, proven up to 16",)


def test_an_argument_that_one_side_leaves_out_is_compared_when_its_default_is_known() -> None:
    silent = replace(PROVEN, env_kwargs={})
    for proven, present, line in (
        (silent, replace(PROVEN, env_kwargs={"engine": "pybullet"}), "env's engine is 'pybullet', proven with 'mujoco'"),
        (replace(PROVEN, env_kwargs={"engine": "pybullet"}), silent, "env's engine is 'mujoco', proven with 'pybullet'"),
    ):
        assert unproven_settings([proven], present) == ()
        assert unproven_settings([proven], present, {"engine": "mujoco", "tasks": "lift"}) == (line,)
    assert unproven_settings([silent], replace(PROVEN, env_kwargs={"engine": "mujoco"}), {"engine": "mujoco"}) == ()


def test_the_defaults_of_an_environment_are_those_of_its_class_and_of_its_registration() -> None:
    defaults = EnvFactory("policytrim_gym:PolicyTrim/Arm-v0", {"engine": "pybullet"}).defaults()
    assert (defaults["engine"], defaults["observation"], defaults["task"]) == ("mujoco", "state", "reach")
    assert EnvFactory(lambda: gym.make("Pendulum-v1")).defaults() == {}


@pytest.mark.parametrize(
    ("num_successes", "num_episodes", "counts"), [(95, 100, True), (88, 100, True), (5, 100, False), (1, 1, False), (10, 10, True)]
)
def test_an_evaluation_counts_when_it_says_something_and_nothing_against_the_validation(num_successes, num_episodes, counts) -> None:
    interval = wilson_interval(num_successes, num_episodes)
    proof = Proof(
        replace(PROVEN, execute_horizon=32),
        num_episodes,
        0,
        num_successes / num_episodes,
        (interval.low, interval.high),
        9.0,
        2.0,
        "2026-11-26",
    )
    facts = CheckpointFacts(24, "Some/Env-v0", evidence={"validation": {"validation_success": 0.9}}, proofs=(proof,))
    assert (proof.setting in facts.proven_settings) == counts


# The file.


def test_a_file_of_before_still_loads(folder: Path) -> None:
    old = {
        "execute_horizon": 4,
        "env": ENV,
        "env_kwargs": {},
        "demonstrations": None,
        "settings": None,
        "evidence": {"validation": {"a": 1}},
    }
    (folder / "policytrim.json").write_text(json.dumps(old))
    facts = load_facts(folder, chunk_size=8)
    assert facts is not None and (facts.execute_horizon, facts.inference_delay_steps, facts.playback_rate) == (4, 0, 1.0)
    assert (facts.tasks, facts.control_dt_s, facts.chunk_size, facts.proven_on, facts.proofs) == (None, None, None, None, ())
    assert unproven_settings(facts.proven_settings, RunSetting(ENV, {}, ("near",), 0.05, 8, 5, 0, 1.0)) == (
        "execute_horizon is 5, proven up to 4",
    )


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_named(folder: Path, part: float) -> None:
    content = (folder / "policytrim.json").read_text().rstrip()
    (folder / "policytrim.json").write_text(content[: int(part * len(content))])
    with pytest.raises(CorruptCheckpoint, match="policytrim.json is not readable"):
        load_facts(folder)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"schema": "policytrim.checkpoint/2"}, f"schema must be '{SCHEMA}', got 'policytrim.checkpoint/2': another version"),
        ({"execute_horizon": 9}, r"1\.\.8 \(chunk_size\), got 9"),
        ({"execute_horizon": 0}, "execute_horizon must be at least 1, got 0"),
        ({"chunk_size": None, "execute_horizon": 9}, r"1\.\.8 \(chunk_size\), got 9"),
        ({"inference_delay_steps": -1}, "inference_delay_steps must be at least 0, got -1"),
        ({"proven_on": "yesterday"}, "proven_on must be an ISO date such as 2026-11-26, got 'yesterday'"),
        ({"proofs": [{"seed": 0}]}, 'missing key "setting"'),
    ],
)
def test_what_contradicts_itself_is_refused_in_one_line(folder: Path, values: dict, words: str, capsys) -> None:
    path = folder / "policytrim.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    with pytest.raises(CorruptCheckpoint, match=words):
        load_facts(folder, chunk_size=8)
    assert evaluate(folder) == 1
    error = capsys.readouterr().err
    assert error.startswith("policytrim: error: ") and error.count("\n") == 1 and "policytrim.json" in error


def test_a_proof_replaces_that_of_its_setting_and_those_of_other_weights() -> None:
    facts = CheckpointFacts(24, "Some/Env-v0")
    first, delayed = (
        Proof(setting, 10, 0, 0.5, (0.2, 0.8), 9.0, 1.0, "2026-11-26", "a")
        for setting in (PROVEN, replace(PROVEN, inference_delay_steps=3))
    )
    better = replace(first, success_rate=0.9)
    assert facts.with_proof(first).with_proof(delayed).with_proof(better).proofs == (delayed, better)
    of_others = replace(delayed, weights_sha256="b")
    assert facts.with_proof(first).with_proof(of_others).proofs == (of_others,)
    with pytest.raises(InvalidHorizon, match="got 24"):
        replace(facts, chunk_size=16)
    with pytest.raises(InvalidConfig, match="got 'today'"):
        replace(first, proven_on="today")


# What a trim knows.


def test_the_date_of_a_trim_is_that_of_the_validation_that_chose_its_checkpoint() -> None:
    choice = {"stage": "horizon", "date": "2026-11-20", "execute_horizon": 4, "validation_success": 0.5, "timesteps": 10, "seconds": 1.0}
    rows = [{"stage": "stage1", "date": "2026-11-19", "is_best": True}, choice, {"stage": "stage2", "date": "2026-11-21", "is_best": True}]
    later = [{"stage": "stage2", "date": "2026-11-22", "is_best": False}, {"stage": "stage2", "date": "2026-11-23"}]
    state = TrainState(phase="done", rows=rows + later, best_validation={"execute_horizon": 4, "validation_success": 0.75})
    with Evaluator(EnvFactory(ENV, {"tasks": ["near", "far"]}), num_workers=0) as evaluator:
        spec = StatePolicyConfig(2, 1, chunk_size=8).to_spec()
        facts = trimmed_facts(evaluator, spec, TrimConfig(validation_states=10), state, "runs/base", None)
        old = trimmed_facts(evaluator, spec, TrimConfig(), replace(state, rows=[{"stage": "horizon"}]), "runs/base", None)
    assert (facts.proven_on, old.proven_on) == ("2026-11-21", None)
    assert facts.setting == RunSetting(ENV, {"tasks": ["near", "far"]}, ("near", "far"), 0.05, 8, 4, 0, 1.0)
    assert facts.evidence is not None and facts.evidence["validation"]["validation_episodes"] == 20
    assert facts.evidence["validation"]["validation_success_ci95"] == list(wilson_interval(15, 20))
    stage1 = stage1_facts(facts, choice)
    assert stage1.proven_on == "2026-11-20" and stage1.evidence is not None
    assert stage1.evidence["validation"]["validation_success_ci95"] == list(wilson_interval(10, 20))


# The commands.


def test_a_checkpoint_that_is_run_as_it_was_proven_says_nothing(folder: Path, capsys) -> None:
    for command in ("evaluate", "sweep"):
        assert main([command, "--policy", str(folder), "--workers", "0", "--episodes", "1"]) == 0
        assert warnings_of(capsys) == []


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["--horizon", "5"], ["execute_horizon is 5, proven up to 4"]),
        (["--delay", "2"], ["inference_delay_steps is 2, proven with 0"]),
        (["--playback-rate", "2"], ["playback_rate is 2, proven with 1"]),
        (["--selector", "fixed:8"], []),
        (
            ["--env-kwargs", "control_dt_s=0.1", "tasks=[near,far]"],
            [
                "tasks include far, proven on near",
                "env's control_dt_s is 0.1, proven with 0.05",
                "control_dt_s is 0.1 s, proven with 0.05 s",
            ],
        ),
        (["--env", "test_proof:" + ENV], []),
    ],
    ids=str,
)
def test_the_command_line_warns_by_a_line_for_each_difference(folder: Path, capsys, arguments: list[str], lines: list[str]) -> None:
    assert evaluate(folder, *arguments) == 0
    assert warnings_of(capsys) == [f"policytrim: warning: {folder}: {line}" for line in lines]


def test_serving_a_longer_horizon_than_proven_is_told(folder: Path, capsys) -> None:
    pytest.importorskip("websockets")
    for horizon, lines in (("4", 0), ("6", 1)):
        assert main(["serve", "--policy", str(folder), "--host", "203.0.113.1", "--execute-horizon", horizon]) == 1
        assert len(warnings_of(capsys)) == lines


def test_a_program_can_turn_the_warning_into_an_error(folder: Path) -> None:
    with pytest.warns(UnprovenSetting, match="inference_delay_steps is 2, proven with 0"):
        warn_unproven(folder, RunSetting(inference_delay_steps=2))
    warn_unproven("ws://elsewhere:8000", RunSetting(inference_delay_steps=2))


def test_a_written_proof_is_the_result_and_changes_nothing_else(folder: Path, capsys) -> None:
    before = json.loads((folder / "policytrim.json").read_text())
    assert evaluate(folder, "--write-proof", "--seed", "5", "--json", "-") == 0
    arm = json.loads(capsys.readouterr().out)
    after = json.loads((folder / "policytrim.json").read_text())
    (proof,) = after.pop("proofs")
    assert {**after, "proofs": []} == before
    for key in ("success_rate", "success_rate_ci95", "steps_mean_success"):
        assert proof[key] == arm[key]
    assert (proof["num_episodes"], proof["seed"], proof["setting"]["execute_horizon"]) == (2, 5, 4)
    assert f"Proof on 2 test episodes (seed 5) of {proof['proven_on']}:" in (folder / "README.md").read_text()
    assert evaluate(folder, "--write-proof", "--seed", "5") == 0
    again = load_facts(folder)
    assert again is not None and len(again.proofs) == 1
    assert load_policy(str(folder)).spec.horizon == again.execute_horizon


def test_a_proof_of_another_setting_is_written_only_when_it_is_asked_for_and_two_episodes_prove_nothing(folder: Path, capsys) -> None:
    for arguments in (["--horizon", "2"], ["--delay", "2"], ["--playback-rate", "2"], ["--split", "validation"], ["--selector", "fixed:4"]):
        content = (folder / "policytrim.json").read_bytes()
        assert evaluate(folder, "--write-proof", *arguments) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("policytrim: error: --write-proof is for") and "got" in error
        assert (folder / "policytrim.json").read_bytes() == content
    assert evaluate(folder, "--write-proof", "any", "--delay", "2") == 0
    facts = load_facts(folder)
    assert facts is not None and facts.execute_horizon == 4 and facts.inference_delay_steps == 0
    assert [proof.setting.inference_delay_steps for proof in facts.proofs] == [2]
    capsys.readouterr()
    assert evaluate(folder, "--delay", "2") == 0
    assert len(warnings_of(capsys)) == 1


def test_a_proof_needs_a_checkpoint_that_knows_itself(folder: Path, capsys) -> None:
    (folder / "policytrim.json").unlink()
    assert evaluate(folder, "--env", ENV, "--write-proof") == 1
    assert "needs a checkpoint folder with a policytrim.json" in capsys.readouterr().err
