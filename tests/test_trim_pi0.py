"""Laws of trimming a policy that looks at images: pi0, with every phase of a trim."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("transformers")

import torch
from line_env import SeenLineEnv
from small_pi0 import slow_pi0

from policytrim_gym.cli.main import main
from policytrim_gym.evaluation.evaluate import Evaluator
from policytrim_gym.policies.loading import load_policy
from policytrim_gym.policies.pi0 import Pi0Policy
from policytrim_gym.rollouts.collector import Rollout
from policytrim_gym.training.grpo import TrimGRPO
from policytrim_gym.training.trim_config import TrimConfig
from policytrim_gym.training.warm_start import WarmStartConfig, warm_start

WARM_START = WarmStartConfig(playback_rates=(1.0, 2.0), states_per_task=2, gradient_steps=3, batch_size=8)
CONFIG = TrimConfig(
    groups_per_task=1,
    group_size=2,
    windows=(4, 8),
    warm_start=WARM_START,
    max_chunks_per_pass=8,
    validation_states=1,
    num_validations=1,
    num_workers=0,
)


def test_images_are_drawn_where_somebody_looks_and_at_every_step_of_a_warm_start() -> None:
    policy = slow_pi0()
    with Evaluator(SeenLineEnv, num_workers=0) as evaluator:
        drawn = SeenLineEnv.drawn
        arm = evaluator.evaluate(policy, 5, 2)
        seen = SeenLineEnv.drawn - drawn
        replans = sum(episode.num_replans for episode in arm.episodes)
        assert replans <= seen <= replans + 2  # the end of an episode may be the end of a window
        rollouts: list[Rollout] = []
        drawn = SeenLineEnv.drawn
        summary = warm_start(policy, evaluator, WARM_START, seed=0, on_episode=rollouts.append)
    assert SeenLineEnv.drawn - drawn == summary["timesteps"] + len(rollouts)
    assert summary["num_kept"] == 2


def test_a_warm_start_holds_the_fastest_success_of_each_state_alone() -> None:
    rollouts: list[Rollout] = []
    with Evaluator(SeenLineEnv, num_workers=0) as evaluator:
        summary = warm_start(slow_pi0(), evaluator, WARM_START, seed=0, on_episode=rollouts.append)
    held = [rollout for rollout in rollouts if rollout.trajectory]
    assert len(rollouts) == 4 and len(held) == summary["num_kept"] == 2
    for rollout in held:
        same = [other.steps for other in rollouts if other.request.seed == rollout.request.seed]
        assert rollout.steps == min(same) < max(same) and len(rollout.trajectory) == rollout.steps


def test_a_stopped_trim_of_pi0_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    def learn(folder: Path, stop_after: int) -> TrimGRPO:
        return TrimGRPO(slow_pi0(), SeenLineEnv, CONFIG, folder).learn(300, lambda trainer: len(trainer.state.rows) % stop_after != 0)

    whole = learn(tmp_path / "whole", 1000)
    assert [row["stage"] for row in whole.state.rows][:2] == ["baseline", "warm-start"]
    assert {row["stage"] for row in whole.state.rows} == {"baseline", "warm-start", "stage1", "horizon", "stage2"}
    for _ in range(20):
        stopped = learn(tmp_path / "stopped", 2)
        if stopped.state.phase == "done":
            break
    assert stopped.num_timesteps == whole.num_timesteps
    for name, value in whole.policy.state_dict().items():
        assert torch.equal(stopped.policy.state_dict()[name], value), name
    assert any(not torch.equal(value, slow_pi0().state_dict()[name]) for name, value in whole.policy.state_dict().items())


def test_the_number_of_workers_changes_nothing_of_a_warm_start() -> None:
    weights = []
    for num_workers in (0, 2):
        policy = slow_pi0()
        with Evaluator(SeenLineEnv, num_workers=num_workers) as evaluator:
            warm_start(policy, evaluator, replace(WARM_START, states_per_task=2), seed=0)
        weights.append(torch.cat([parameter.detach().flatten() for parameter in policy.parameters()]))
    assert torch.equal(*weights)


def test_from_the_experts_images_to_a_trimmed_pi0_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mujoco")
    pixels = "task=reach observation=pixels image_size=32 action=tool_delta max_episode_steps=24".split()
    small = "{hidden_size: 32, num_layers: 2, vision_layers: 2, num_heads: 2, image_size: 32, patch_size: 16, num_inference_steps: 2}"
    cloning = ["gradient_steps=10", "batch_size=8", "chunk_size=8", "execute_horizon=4", f"pi0={small}"]
    base, out = str(tmp_path / "base"), str(tmp_path / "trimmed")

    def run(*arguments: str) -> dict:
        assert main([*arguments, "--json", "-"]) == 0
        return json.loads(capsys.readouterr().out)

    clone = ["clone", "--model", "pi0", "--env", "PolicyTrim/Arm-v0", "--env-kwargs", *pixels, "--demonstrator", "full-speed"]
    made = run(*clone, "--demos", "2", "--workers", "1", "--set", *cloning, "--out", base)
    assert made["tasks"]["reach"]["kept"] == 2
    assert run(*clone, "--demos", "2", "--workers", "1", "--set", *cloning, "--out", base) == made
    swept = run("sweep", "--policy", base, "--horizons", "4", "8", "--playback-rates", "1", "--episodes", "1", "--workers", "0")
    assert len(swept["arms"]) == 2
    trimming = [
        "groups_per_task=1",
        "group_size=2",
        "validation_states=1",
        "num_validations=1",
        "warm_start={states_per_task: 1, playback_rates: [1.0], gradient_steps: 2, batch_size: 4}",
    ]
    trimmed = run("trim", "--policy", base, "--out", out, "--timesteps", "80", "--workers", "0", "--set", *trimming)
    assert trimmed["finished"] and trimmed["execute_horizon"] in (4, 6, 8)
    evaluated = run("evaluate", "--policy", out, "--episodes", "1", "--workers", "0")
    assert evaluated["execute_horizon"] == trimmed["execute_horizon"]
    policy = load_policy(out)
    assert isinstance(policy, Pi0Policy) and policy.interface.cameras == ("front", "wrist")
