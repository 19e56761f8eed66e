from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from line_env import LineEnv, slow_policy

from policytrim_gym import progress
from policytrim_gym.errors import CorruptCheckpoint, InvalidConfig, InvalidHorizon, InvalidSpec
from policytrim_gym.evaluation.evaluate import Evaluator
from policytrim_gym.policies.checkpoint_facts import load_facts
from policytrim_gym.policy import CallablePolicy
from policytrim_gym.spec import PolicySpec
from policytrim_gym.training.grpo import STATE_FILE, TrimGRPO
from policytrim_gym.training.trim_config import TrimConfig
from policytrim_gym.training.warm_start import WarmStartConfig
from policytrim_gym.training.weight_average import average_into

BUDGET = 12_000
CONFIG = TrimConfig(
    groups_per_task=2,
    group_size=4,
    learning_rate=1e-3,
    stage1_fraction=0.25,
    warm_start=WarmStartConfig(playback_rates=(1.0, 2.0), states_per_task=8, gradient_steps=30, batch_size=32),
    validation_states=6,
    num_validations=2,
    num_workers=0,
)


def weights(trainer: TrimGRPO) -> torch.Tensor:
    return torch.cat([value.flatten() for value in trainer.policy.state_dict().values()])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> TrimGRPO:
    return TrimGRPO(slow_policy(), LineEnv, CONFIG, tmp_path_factory.mktemp("run")).learn(BUDGET)


def test_a_trim_takes_fewer_steps_and_calls_at_no_less_success(finished: TrimGRPO) -> None:
    with Evaluator(LineEnv, num_workers=0) as evaluator:
        base = evaluator.evaluate(slow_policy(), 2, 20, seed=1000)
        trimmed = evaluator.evaluate(finished.policy, finished.policy.spec.horizon, 20, seed=1000)
    assert trimmed.success_rate >= base.success_rate
    assert trimmed.steps_restricted_mean < 0.7 * base.steps_restricted_mean
    assert trimmed.num_replans_mean < 0.5 * base.num_replans_mean


def test_the_phases_run_in_their_order_and_the_budget_counts_physical_steps(finished: TrimGRPO) -> None:
    stages = [row["stage"] for row in finished.state.rows]
    order = [stage for index, stage in enumerate(stages) if index == 0 or stages[index - 1] != stage]
    assert order == ["baseline", "warm-start", "stage1", "horizon", "stage2"]
    longest_iteration = CONFIG.group_size * CONFIG.groups_per_task * 150
    assert BUDGET <= finished.num_timesteps < BUDGET + longest_iteration
    timesteps = [row["timesteps"] for row in finished.state.rows]
    assert timesteps == sorted(timesteps)


def test_what_is_kept_is_the_best_validated_checkpoint(finished: TrimGRPO) -> None:
    with finished.best_weights():
        again = finished.validate(finished.state.execute_horizon)
    assert again.success_rate == finished.state.best_validation["validation_success"]
    assert again.steps_mean_success == finished.state.best_validation["validation_steps"]
    assert finished.policy.spec.horizon == finished.state.execute_horizon


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 1.0])
def test_the_running_average_is_the_weighted_mean_of_the_iterations_alone(decay: float) -> None:
    history = np.random.default_rng(0).normal(size=(6, 3))
    average = {"w": torch.full((3,), 1e3, dtype=torch.float64)}  # weights that entered the stage
    for count, weights in enumerate(history, start=1):
        average_into(average, {"w": torch.from_numpy(weights)}, decay, count)
    expected = np.average(history, axis=0, weights=[decay**age for age in range(len(history))][::-1])
    np.testing.assert_allclose(average["w"], expected, rtol=1e-9, atol=1e-12)


def test_a_stopped_run_goes_on_to_the_same_weights(finished: TrimGRPO, tmp_path: Path) -> None:
    for _ in range(200):  # every start runs one more iteration
        trainer = TrimGRPO(slow_policy(), LineEnv, CONFIG, tmp_path).learn(BUDGET, lambda trainer: len(trainer.state.rows) % 7 != 0)
        if trainer.state.phase == "done":
            break
    assert torch.equal(weights(trainer), weights(finished))
    assert len(trainer.state.rows) == len(finished.state.rows)


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from test_trim_grpo import *\n"
        "import policytrim_gym.training.grpo as grpo\n"
        "grpo.SAVE_EVERY_S = 0.0\n"
        f"TrimGRPO(slow_policy(), LineEnv, CONFIG, {str(tmp_path)!r}).learn({BUDGET}, lambda trainer: print('row', flush=True))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    assert process.stdout is not None
    for _ in range(8):
        process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    trainer = TrimGRPO(slow_policy(), LineEnv, CONFIG, tmp_path)
    assert trainer.num_timesteps > 0
    assert not list(tmp_path.glob("resume/.*")) or (tmp_path / STATE_FILE).exists()
    trainer.learn(BUDGET)
    assert trainer.state.phase == "done"


def test_the_number_of_workers_does_not_change_the_training(tmp_path: Path) -> None:
    short = replace(CONFIG, warm_start=None, stage1_fraction=0.0)
    alone = TrimGRPO(slow_policy(), LineEnv, short).learn(1500)
    together = TrimGRPO(slow_policy(), LineEnv, replace(short, num_workers=2)).learn(1500)
    assert torch.equal(weights(alone), weights(together))


def test_save_and_load_give_the_same_trainer(finished: TrimGRPO, tmp_path: Path) -> None:
    finished.save(tmp_path / "saved")
    loaded = TrimGRPO.load(tmp_path / "saved", LineEnv)
    assert torch.equal(weights(loaded), weights(finished))
    assert loaded.state == finished.state
    facts = load_facts(tmp_path / "saved")
    assert facts is not None and (facts.env, facts.execute_horizon) == ("LineEnv", finished.state.execute_horizon)
    assert loaded.config == finished.config
    observation = {"state": np.array([0.0, 2.0], np.float32), "instruction": LineEnv.instruction}
    chunk, nothing = loaded.predict(observation)
    assert nothing is None
    np.testing.assert_array_equal(chunk.actions, finished.predict(observation)[0].actions)


def test_exploration_that_the_settings_leave_open_is_the_policys_own(tmp_path: Path) -> None:
    start, end = {"action_std": 0.12, "gain_std": 0.15}, {"action_std": 0.08, "gain_std": 0.03}
    policy, config = slow_policy(), TrimConfig(anneal_until=0.5)
    assert TrimGRPO(policy, LineEnv, config).config == replace(config, exploration_start=start, exploration_end=end)
    assert vars(policy.exploration) == start
    assert config.for_policy(policy).exploration_at(0.25) == pytest.approx({"action_std": 0.10, "gain_std": 0.09})
    assert config.for_policy(policy).exploration_at(0.75) == end
    one_end = replace(config, exploration_start={"action_std": 0.5, "gain_std": 0.0}).for_policy(policy)
    assert (one_end.exploration_start, one_end.exploration_end) == ({"action_std": 0.5, "gain_std": 0.0}, end)
    with pytest.raises(InvalidConfig, match=r"must name the same values, got \['noise'\] and \['action_std', 'gain_std'\]"):
        TrimGRPO(policy, LineEnv, replace(config, exploration_start={"noise": 0.5}))
    # A folder of before the exploration could be left open holds these numbers, and is the same run.
    explicit = replace(CONFIG, exploration_start=start, exploration_end=end)
    before = TrimGRPO(policy, LineEnv, explicit, tmp_path).learn(BUDGET, lambda trainer: False)
    assert TrimGRPO(policy, LineEnv, CONFIG, tmp_path).state == before.state
    assert [row["stage"] for row in before.state.rows] == ["baseline"]


def test_a_run_from_before_a_setting_existed_goes_on_with_its_default(finished: TrimGRPO, tmp_path: Path) -> None:
    finished.save(tmp_path)
    content = torch.load(tmp_path / STATE_FILE, weights_only=True)
    del content["config"]["stage1_rollouts"]
    torch.save(content, tmp_path / STATE_FILE)
    assert TrimGRPO(slow_policy(), LineEnv, CONFIG, tmp_path).state.phase == "done"
    with pytest.raises(InvalidConfig, match="stage1_rollouts='mixed', now it is 'longest'"):
        TrimGRPO(slow_policy(), LineEnv, replace(CONFIG, stage1_rollouts="longest"), tmp_path)


def test_stage_1_at_the_longest_window_ends_in_the_same_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: dict[str, set[int]] = {"mixed": set(), "longest": set()}
    for rollouts in ran:
        trainer = TrimGRPO(slow_policy(), LineEnv, replace(CONFIG, stage1_fraction=1.0, warm_start=None, stage1_rollouts=rollouts))
        collect = trainer._collect

        def collect_and_note(collect=collect, noted=ran[rollouts]):
            collected = collect()
            noted |= {rollout.request.execute_horizon for rollout in collected}
            return collected

        monkeypatch.setattr(trainer, "_collect", collect_and_note)
        choice = next(row for row in trainer.learn(1000).state.rows if row["stage"] == "horizon")
        assert set(choice["horizon_success"]) == {"h=2", "h=5", "h=8"}
    assert ran == {"mixed": {2, 5, 8}, "longest": {8}}


def test_a_folder_with_another_configuration_is_refused(finished: TrimGRPO) -> None:
    with pytest.raises(InvalidConfig, match="beta=1.0, now it is 0.5"):
        TrimGRPO(slow_policy(), LineEnv, replace(CONFIG, beta=0.5), finished.run_dir)


@pytest.mark.parametrize("size", [0, 10, 1000])
def test_a_truncated_state_is_refused_by_name(finished: TrimGRPO, tmp_path: Path, size: int) -> None:
    finished.save(tmp_path)
    content = (tmp_path / STATE_FILE).read_bytes()
    (tmp_path / STATE_FILE).write_bytes(content[:size])
    with pytest.raises(CorruptCheckpoint, match=r"state\.pt is not a readable training state"):
        TrimGRPO.load(tmp_path, LineEnv)


def test_a_state_of_an_older_version_says_so(finished: TrimGRPO, tmp_path: Path) -> None:
    finished.save(tmp_path)
    content = torch.load(tmp_path / STATE_FILE, weights_only=True)
    del content["origin"]
    torch.save(content, tmp_path / STATE_FILE)
    with pytest.raises(CorruptCheckpoint, match=r"state\.pt is of an older version"):
        TrimGRPO(slow_policy(), LineEnv, CONFIG, tmp_path)


def test_a_damaged_state_is_refused_in_one_sentence(finished: TrimGRPO, tmp_path: Path) -> None:
    finished.save(tmp_path)
    (tmp_path / STATE_FILE).write_bytes(b"\x80\x02nothing that torch wrote")
    with pytest.raises(CorruptCheckpoint) as error:
        TrimGRPO.load(tmp_path, LineEnv)
    assert len(str(error.value)) - len(str(tmp_path / STATE_FILE)) < 120


class NumberedEnv(LineEnv):
    """A LineEnv that claims to have numbered initial states."""

    initial_state = None


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"windows": (2, 9)}, r"windows .null fits any chunk. must be in 1\.\.8 .* got 9"),
        ({"validation_states": 251}, r"validation_states must be in 1\.\.250 .* got 251"),
        ({"warm_start": WarmStartConfig(states_per_task=1001)}, r"warm_start.states_per_task must be in 1\.\.1000 .* got 1001"),
    ],
    ids=["windows", "validation_states", "warm_start"],
)
def test_what_policy_and_environment_rule_out_is_refused_at_once(setting: dict[str, Any], expected: str) -> None:
    with pytest.raises((InvalidConfig, InvalidHorizon), match=expected):
        TrimGRPO(slow_policy(), NumberedEnv, replace(CONFIG, **setting))


def test_a_run_says_what_it_does_and_where_it_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def learn(rows: int) -> str:
        trainer = TrimGRPO(slow_policy(), LineEnv, replace(CONFIG, stage1_fraction=0.0), tmp_path)
        trainer.learn(3000, lambda trainer: len(trainer.state.rows) != rows, progress_bar=True)
        out, err = capsys.readouterr()
        assert out == ""
        return err

    monkeypatch.setattr(progress, "LOG_EVERY_S", -1.0)
    assert "going on" not in (first := learn(rows=2))
    for text in ("baseline: validation h=2 6/6", "warm-start: rollout 16/16", "warm-start: gradient step 30/30"):
        assert text in first
    assert " of 3,000 steps, phase horizon" in learn(rows=-1).splitlines()[0]
    assert "already finished at" in (last := learn(rows=-1)) and last.count("\n") == 1


def test_a_frozen_policy_is_refused() -> None:
    frozen = CallablePolicy(lambda observation: np.zeros((4, 1)), PolicySpec(chunk_size=4, action_dim=1))
    with pytest.raises(InvalidSpec, match="TrainableChunkPolicy, got CallablePolicy"):
        TrimGRPO(frozen, LineEnv)  # type: ignore[arg-type]


def test_tensorboard_events_are_written(finished: TrimGRPO) -> None:
    assert finished.run_dir is not None
    assert list((finished.run_dir / "tensorboard").glob("events.out.tfevents.*"))


def test_stage_1_alone_and_stage_2_alone_run() -> None:
    only_first = TrimGRPO(slow_policy(), LineEnv, replace(CONFIG, stage1_fraction=1.0, warm_start=None)).learn(2500)
    assert {row["stage"] for row in only_first.state.rows} == {"baseline", "stage1", "horizon"}
    only_second = TrimGRPO(slow_policy(), LineEnv, replace(CONFIG, stage1_fraction=0.0, warm_start=None)).learn(2500)
    assert {row["stage"] for row in only_second.state.rows} == {"baseline", "horizon", "stage2"}


def test_time_spent_is_kept_over_a_restart(tmp_path: Path) -> None:
    first = TrimGRPO(slow_policy(), LineEnv, CONFIG, tmp_path).learn(BUDGET, lambda trainer: False)
    started = time.perf_counter()
    second = TrimGRPO(slow_policy(), LineEnv, CONFIG, tmp_path).learn(BUDGET, lambda trainer: False)
    assert first.state.seconds < second.state.seconds < first.state.seconds + time.perf_counter() - started + 1
