from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from line_env import LineEnv, SeenLineEnv, slow_policy

from policytrim_gym.policy import TrainableChunkPolicy
from policytrim_gym.rollouts.collector import RolloutCollector
from policytrim_gym.rollouts.episode import EpisodeRequest
from policytrim_gym.training import grpo_update
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


def make_pi0() -> TrainableChunkPolicy:
    pytest.importorskip("transformers")
    from small_pi0 import slow_pi0

    return slow_pi0()


@pytest.mark.parametrize("make_policy", [slow_policy, make_pi0])
@pytest.mark.parametrize("ratio", ["action", "chunk"])
def test_a_step_in_blocks_is_the_step_at_once(make_policy: Callable[[], TrainableChunkPolicy], ratio: str) -> None:
    base = make_policy()
    with RolloutCollector(SeenLineEnv, num_workers=0) as collector:
        requests = [EpisodeRequest(horizon, seed=3, noise_seed=horizon, max_steps=21) for horizon in (3, 8, 5)]
        rollouts = collector.collect(requests, SamplingController(base), keep_observations=True)
    assert len({len(rollout.windows) for rollout in rollouts}) == 3
    advantages = np.array([1.0, -0.5, 0.3])
    outcomes = []
    for max_chunks_per_pass in (None, 1, 4, 1000):
        policy = copy.deepcopy(base)
        config = replace(CONFIG, ratio=ratio, max_chunks_per_pass=max_chunks_per_pass, num_epochs=2, num_minibatches=2, learning_rate=1e-4)  # type: ignore[arg-type]
        statistics = GRPOUpdater(policy, config).update(rollouts, advantages, seed=0)
        assert statistics is not None
        outcomes.append((statistics, torch.cat([parameter.detach().flatten() for parameter in policy.parameters()])))
    for statistics, weights in outcomes[1:]:
        for name, value in asdict(outcomes[0][0]).items():
            assert getattr(statistics, name) == pytest.approx(value, rel=1e-4, abs=1e-5), name
        torch.testing.assert_close(weights, outcomes[0][1], atol=1e-5, rtol=0)
    assert not torch.equal(outcomes[0][1], torch.cat([parameter.detach().flatten() for parameter in base.parameters()]))


def test_the_weights_of_a_minibatch_add_up_to_1() -> None:
    policy = slow_policy()
    with RolloutCollector(LineEnv, num_workers=0) as collector:
        requests = [EpisodeRequest(horizon, seed=3) for horizon in (3, 8)]
        rollouts = collector.collect(requests, SamplingController(policy), keep_observations=True)
    chunks = grpo_update._chunks([(rollout, 1.0) for rollout in rollouts], 8)
    assert sum(chunk.weights.sum() for chunk in chunks) == pytest.approx(1.0)
    for rollout, weight in zip(rollouts, (chunks[: len(rollouts[0].windows)], chunks[len(rollouts[0].windows) :])):
        assert sum(chunk.weights.sum() for chunk in weight) == pytest.approx(0.5)
        assert {float(chunk.weights.max()) for chunk in weight} == {1 / (2 * rollout.steps)}


def test_without_a_signal_nothing_changes() -> None:
    policy = slow_policy()
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    with RolloutCollector(LineEnv, num_workers=0) as collector:
        rollouts = collector.collect([EpisodeRequest(8)], SamplingController(policy), keep_observations=True)
    assert GRPOUpdater(policy, CONFIG).update(rollouts, np.zeros(1), seed=0) is None
    assert all(torch.equal(before[name], value) for name, value in policy.state_dict().items())
