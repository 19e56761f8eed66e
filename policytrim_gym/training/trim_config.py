"""Everything that decides a trim, in one typed configuration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from policytrim_gym.config import check_fields
from policytrim_gym.errors import InvalidConfig
from policytrim_gym.policy import Explorer
from policytrim_gym.training.warm_start import WarmStartConfig


@dataclass(frozen=True)
class TrimConfig:
    """Configuration of `TrimGRPO`. Unknown keys and wrong types are refused.

    Args:
        group_size: G, rollouts from one initial state that are compared with each other.
        groups_per_task: groups of each task in every iteration, so that no task waits; None shares 4 out among the tasks, at least 1 each.
        windows: execute horizons among which one is chosen after stage 1 [steps]; None: stock, chunk_size and the one half-way.
        stage1_rollouts: "mixed" (paper) runs all of them in each group of stage 1; "longest", ours, the longest alone.
        stage1_fraction: part of the budget of physical steps that stage 1 gets; 0 leaves stage 1 out, 1 leaves stage 2 out.
        beta: weight of the horizon reward in stage 1.
        kappa: weight of the step saving in stage 2.
        lam: weight of the stability penalty in stage 2.
        sigma_floor_fraction: smallest spread of steps that the penalty divides by, as a fraction of the task's mean steps.
        penalty_mode: "floor" (paper) or "gate" (reference code) in tight groups.
        penalty_one_sided: penalise only rollouts faster than their group; ours.
        base_steps_factor: S_base is so many times the mean steps of the policy that enters stage 2, task by task.
        baseline: "group" (paper) or "window" (mean of the rollouts with the same window; stage 1).
        advantage_eps: added to a group's standard deviation. 1e-6 (the paper's) lets a difference of two steps in a group where all
            succeed weigh as much as a failure elsewhere; 0.15 weighs them by their size.
        step_limit_factor: training rollouts end as failures after so many times the task's mean steps at the entry of the stage.
        learning_rate, final_learning_rate: of Adam, at the start of each stage and at its end, linear between.
        average_decay: of the running average of the weights over the iterations of a stage, which is what is validated and kept; 0 keeps
            the weights themselves.
        num_epochs, num_minibatches: passes over each iteration's rollouts, and gradient steps in each pass.
        max_chunks_per_pass: chunks of a minibatch that go through the policy at once; more are taken in blocks whose gradients add up to
            the same step but for rounding. For models that are large for the memory; None: all at once.
        clip_low, clip_high: PPO clip of the likelihood ratio, 1 - clip_low .. 1 + clip_high.
        ratio: "action" clips each executed action's own ratio, "chunk" the ratio of the executed prefix.
        max_grad_norm: of the gradient's clip.
        exploration_start, exploration_end: spread of sampling at the start and at `anneal_until` of each stage, names as the policy's
            `set_exploration` takes them; None: the policy's own.
        anneal_until: fraction of a stage after which the exploration stays at its end.
        validation_states: initial states of each task for every choice (horizon, best checkpoint).
        num_validations: validations in each stage.
        success_floor: least success on the validation states that a checkpoint needs to be chosen; None: that of the entering policy at
            its stock horizon.
        success_tolerance: how far below the floor a checkpoint may be and still be chosen.
        warm_start: how the policy's own fast successes are rewritten into its chunks before stage 1; None leaves it out.
        horizon_tolerance: how far below the floor a horizon may be when stage 2 begins; stage 2 raises success as well as speed, and the
            floor still decides which of its checkpoints is kept. 0 is the paper's rule.
        num_workers: rollout processes.
        seed: of initial states, noise and minibatches.
    """

    group_size: int = 8
    groups_per_task: int | None = None
    windows: tuple[int, ...] | None = None
    stage1_rollouts: Literal["mixed", "longest"] = "mixed"
    stage1_fraction: float = 0.25
    beta: float = 1.0
    kappa: float = 0.8
    lam: float = 0.15
    sigma_floor_fraction: float = 0.05
    penalty_mode: Literal["floor", "gate"] = "floor"
    penalty_one_sided: bool = False
    base_steps_factor: float = 1.3
    baseline: Literal["group", "window"] = "group"
    advantage_eps: float = 1e-6
    step_limit_factor: float = 2.0
    learning_rate: float = 1e-4
    final_learning_rate: float = 1e-5
    average_decay: float = 0.9
    num_epochs: int = 2
    num_minibatches: int = 2
    max_chunks_per_pass: int | None = None
    clip_low: float = 0.2
    clip_high: float = 0.2
    ratio: Literal["action", "chunk"] = "action"
    max_grad_norm: float = 1.0
    exploration_start: dict[str, float] | None = None
    exploration_end: dict[str, float] | None = None
    anneal_until: float = 0.7
    validation_states: int = 25
    num_validations: int = 8
    success_floor: float | None = None
    success_tolerance: float = 0.0
    horizon_tolerance: float = 0.15
    warm_start: WarmStartConfig | None = WarmStartConfig()
    num_workers: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("groups_per_task", "max_chunks_per_pass"):
            self._require(name, getattr(self, name) is None or getattr(self, name) >= 1, "at least 1")
        at_least_one = ("num_epochs", "num_minibatches", "validation_states", "num_validations")
        positive = (
            "learning_rate",
            "final_learning_rate",
            "clip_low",
            "clip_high",
            "max_grad_norm",
            "sigma_floor_fraction",
            "base_steps_factor",
        )
        for name in at_least_one:
            self._require(name, getattr(self, name) >= 1, "at least 1")
        for name in positive:
            self._require(name, getattr(self, name) > 0, "above 0")
        for name in ("beta", "kappa", "lam", "advantage_eps", "success_tolerance", "horizon_tolerance", "num_workers"):
            self._require(name, getattr(self, name) >= 0, "at least 0")
        for name in ("stage1_fraction", "anneal_until", "average_decay"):
            self._require(name, 0 <= getattr(self, name) <= 1, "in 0..1")
        start, end = self.exploration_start, self.exploration_end
        if start is not None and end is not None and set(start) != set(end):
            raise InvalidConfig(f"exploration_start and exploration_end must name the same values, got {sorted(start)} and {sorted(end)}")
        self._require("group_size", self.group_size >= 2, "at least 2: a rollout is compared with its group")
        self._require("step_limit_factor", self.step_limit_factor > 1.3, "above 1.3, or slow successes look like failures")

    def for_policy(self, policy: Explorer) -> TrimConfig:
        """Returns the configuration with the exploration settled.

        Raises:
            InvalidConfig: one end of the exploration is given, with other names than the policy's own has for the other.
        """
        start, end = self.exploration_start, self.exploration_end
        return replace(
            self,
            exploration_start=dict(policy.exploration_start) if start is None else start,
            exploration_end=dict(policy.exploration_end) if end is None else end,
        )

    def exploration_at(self, progress: float) -> dict[str, float]:
        """Returns the spread of sampling after a fraction of a stage; empty where nothing was settled."""
        start, end = self.exploration_start or {}, self.exploration_end or {}
        annealed = 1.0 if self.anneal_until == 0 else min(1.0, progress / self.anneal_until)
        return {name: (1 - annealed) * start[name] + annealed * end[name] for name in start}

    def _require(self, name: str, holds: bool, expectation: str) -> None:
        if not holds:
            raise InvalidConfig(f"{name} must be {expectation}, got {getattr(self, name)}")
