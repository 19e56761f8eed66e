from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from line_env import LineEnv, slow_policy

from policytrim_gym.rollouts.collector import RolloutCollector
from policytrim_gym.rollouts.episode import EpisodeRequest
from policytrim_gym.training.grpo_update import GRPOUpdater, clipped_objective
from policytrim_gym.training.sampling_controller import SamplingController
from policytrim_gym.training.trim_config import TrimConfig

CONFIG = TrimConfig(num_workers=0)


def random_batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    log_probs = torch.randn(5, 7, generator=generator, requires_grad=True)
    weights = torch.rand(5, 7, generator=generator)
    weights[:, 4:] = 0.0  # not executed
    return log_probs, log_probs.detach().clone(), torch.randn(5, generator=generator), weights


@pytest.mark.parametrize("ratio", ["action", "chunk"])
def test_at_the_sampling_weights_the_loss_is_the_weighted_advantage(ratio: str) -> None:
    log_probs, old, advantages, weights = random_batch()
    loss, clipped = clipped_objective(log_probs, old, advantages, weights, replace(CONFIG, ratio=ratio))  # type: ignore[arg-type]
    assert loss.item() == pytest.approx(-(weights * advantages[:, None]).sum().item(), rel=1e-5)
    assert clipped.item() == 0.0


def test_at_the_sampling_weights_the_gradient_is_the_policy_gradient() -> None:
    log_probs, old, advantages, weights = random_batch()
    clipped_objective(log_probs, old, advantages, weights, CONFIG)[0].backward()
    torch.testing.assert_close(log_probs.grad, -(weights * advantages[:, None]))


def test_actions_that_did_not_run_have_no_gradient() -> None:
    log_probs, old, advantages, weights = random_batch()
    for ratio in ("action", "chunk"):
        log_probs.grad = None
        clipped_objective(log_probs, old, advantages, weights, replace(CONFIG, ratio=ratio))[0].backward()  # type: ignore[arg-type]
        assert log_probs.grad is not None
        assert not log_probs.grad[:, 4:].any()


def test_beyond_the_clip_an_improvement_has_no_more_gradient_and_a_worsening_keeps_it() -> None:
    old = torch.zeros(2, 1)
    log_probs = torch.full((2, 1), 0.5, requires_grad=True)  # ratio 1.65, beyond 1.2
    clipped_objective(log_probs, old, torch.tensor([1.0, -1.0]), torch.ones(2, 1), CONFIG)[0].backward()
    assert log_probs.grad is not None
    assert log_probs.grad[0].item() == 0.0
    assert log_probs.grad[1].item() == pytest.approx(np.exp(0.5), rel=1e-5)


def test_an_update_makes_the_better_half_likelier() -> None:
    policy = slow_policy()
    policy.set_exploration(action_std=0.2)
    with RolloutCollector(LineEnv, num_workers=0) as collector:
        requests = [EpisodeRequest(8, seed=3, noise_seed=index) for index in range(8)]
        rollouts = collector.collect(requests, SamplingController(policy), keep_observations=True)
    advantages = np.array([1.0, -1.0] * 4)

    def log_likelihood(index: int) -> float:
        rollout = rollouts[index]
        log_probs, _ = policy.evaluate_chunks(rollout.observations, [window.record.trace for window in rollout.windows])
        executed = [float(row[:count].sum()) for row, count in zip(log_probs.detach(), rollout.executed_steps)]
        return sum(executed) / rollout.steps

    before = np.array([log_likelihood(index) for index in range(8)])
    recorded = [
        sum(window.record.log_probs[:count].sum() for window, count in zip(r.windows, r.executed_steps)) / r.steps for r in rollouts
    ]
    np.testing.assert_allclose(before, recorded, rtol=1e-3)  # the sampled log-prob is the recomputed one
    statistics = GRPOUpdater(policy, replace(CONFIG, learning_rate=3e-4)).update(rollouts, advantages, seed=0)
    change = np.array([log_likelihood(index) for index in range(8)]) - before
    assert statistics is not None
    assert change[advantages > 0].mean() > change[advantages < 0].mean()


def test_without_a_signal_nothing_changes() -> None:
    policy = slow_policy()
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    with RolloutCollector(LineEnv, num_workers=0) as collector:
        rollouts = collector.collect([EpisodeRequest(8)], SamplingController(policy), keep_observations=True)
    assert GRPOUpdater(policy, CONFIG).update(rollouts, np.zeros(1), seed=0) is None
    assert all(torch.equal(before[name], value) for name, value in policy.state_dict().items())
