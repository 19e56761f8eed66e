"""The free sweep: what horizons and playback rates cost and give, without any training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from policytrim_gym.chunk import check_horizon
from policytrim_gym.errors import InvalidConfig
from policytrim_gym.evaluation.comparison import compare_arms
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
from policytrim_gym.evaluation.evaluate import Evaluator, OnEpisode
from policytrim_gym.evaluation.pareto import UntrainedSelection, best_untrained_pair, pareto_front
from policytrim_gym.policy import ChunkPolicy
from policytrim_gym.replan import check_rate
from policytrim_gym.rollouts.env_factory import EnvFactory, EnvLike


class HorizonSweep(NamedTuple):
    """All arms of a sweep on the same initial states, and what follows from them."""

    arms: tuple[EfficiencyReport, ...]
    front: tuple[EfficiencyReport, ...]  # not beaten in success, calls and steps at once
    stock: EfficiencyReport  # the policy's own horizon at rate 1
    largest_not_inferior: EfficiencyReport  # the longest horizon at rate 1 whose success is not lower than stock's, within the margin
    best_untrained: UntrainedSelection  # the strongest (horizon, playback) pair


def sweep_horizons(
    policy: ChunkPolicy,
    env: EnvLike | EnvFactory | Evaluator,
    horizons: Sequence[int],
    num_episodes: int = 100,
    seed: int = 0,
    playback_rates: Sequence[float] = (1.0,),
    *,
    split: str = "validation",
    margin: float = 0.05,
    num_workers: int = 2,
    on_episode: OnEpisode | None = None,
    on_arm: Callable[[EfficiencyReport], None] | None = None,
) -> HorizonSweep:
    """Evaluates every horizon at every playback rate on the same initial states.

    Args:
        policy: whose spec names the stock horizon; it is swept too when `horizons` leaves it out.
        env: an id, a spec, a function, or an `Evaluator`.
        horizons: h, each in 1..chunk_size.
        num_episodes: of each arm, spread evenly over the tasks.
        seed: for environments without initial states.
        playback_rates: 1.0 is always swept.
        split: which initial states; a choice made here must not see the test states.
        margin: how much success a longer horizon may lose and still count as not inferior; judged on the point estimate, because a sweep
            is small and the final evaluation proves the choice.
        num_workers: rollout processes.
        on_episode, on_arm: called as they finish.

    Raises:
        InvalidHorizon, InvalidSpec, InvalidConfig: a horizon, rate or number of episodes that cannot be run, before anything runs.
    """
    stock_horizon = policy.spec.horizon
    wanted = sorted({check_horizon(horizon, policy.spec.chunk_size) for horizon in horizons} | {stock_horizon})
    rates = sorted({float(rate) for rate in playback_rates} | {1.0})
    for rate in rates:
        check_rate(rate, policy.spec)  # refuses what cannot be played now, and not after the arms before it
    arms: list[EfficiencyReport] = []
    with ExitStack() as stack:
        evaluator = env if isinstance(env, Evaluator) else stack.enter_context(Evaluator(env, num_workers))
        num_tasks = len(evaluator.tasks)
        if num_episodes < 1 or num_episodes % num_tasks:
            raise InvalidConfig(f"num_episodes must be a positive multiple of the {num_tasks} tasks, got {num_episodes}")
        for rate in rates:
            for horizon in wanted:
                arm = evaluator.evaluate(
                    policy, horizon, num_episodes // num_tasks, split=split, seed=seed, playback_rate=rate, on_episode=on_episode
                )
                arms.append(arm)
                if on_arm:
                    on_arm(arm)
    stock = next(arm for arm in arms if arm.playback_rate == 1.0 and arm.execute_horizon == stock_horizon)
    plain = [arm for arm in arms if arm.playback_rate == 1.0 and compare_arms(stock, arm).success.difference >= -margin]
    return HorizonSweep(
        arms=tuple(arms),
        front=tuple(pareto_front(arms)),
        stock=stock,
        largest_not_inferior=max(plain, key=lambda arm: arm.execute_horizon),
        best_untrained=best_untrained_pair(arms, stock),
    )
