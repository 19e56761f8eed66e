"""SB3's PPO against TrimGRPO on the weights: same base, horizon, physical steps, reward, validation and test states.

    python benchmarks/weights_sb3_or_grpo.py --policy runs/headline-slow/seed-{0,1,2}/base --out runs/weights

Both train for fewer steps (stage 2) at one horizon, without the warm start, in this process alone, so that their minutes compare. PPO gets
environments of one task each: S_base, the smallest spread and the time limit are the task's own, as they are in TrimGRPO. Each keeps its
best checkpoint by TrimGRPO's rule. What PPO lacks is the group: its stability penalty compares an episode with earlier ones from the same
initial state, of which there are few. Each folder of `--policy` is one training seed. Stopped and started again, it goes on with what is
missing. The result is `weights.md` and `weights.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from policytrim_gym.errors import InvalidSpec
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport, pool_arms
from policytrim_gym.evaluation.evaluate import Evaluator, arm_name
from policytrim_gym.evaluation.report.words import interval_words, number, percent
from policytrim_gym.experiments.arms import ArmStore
from policytrim_gym.experiments.settings import keep_settings
from policytrim_gym.files import write_atomic, write_json_atomic
from policytrim_gym.policies.checkpoint_facts import load_facts
from policytrim_gym.policies.loading import load_policy
from policytrim_gym.policies.sb3_chunk_policy import ChunkActorCriticPolicy, instruction_encoder
from policytrim_gym.policies.state_policy import StatePolicy
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.training.grpo import TrimGRPO
from policytrim_gym.training.trim_config import TrimConfig
from policytrim_gym.training.validation import checkpoint_score, mean_steps_by_task, validation_row
from policytrim_gym.wrappers.encode_instruction import EncodeInstruction
from policytrim_gym.wrappers.execute_chunk import ExecuteChunk
from policytrim_gym.wrappers.fail_at_time_limit import FailAtTimeLimit
from policytrim_gym.wrappers.trim_reward import ApplyTrimReward, TrimReward

MAX_EPISODE_STEPS = 500


@dataclass(frozen=True)
class PPOSettings:
    """What PPO has beside the TrimConfig.

    Args:
        envs_per_task: environments of each task.
        n_steps: calls of each environment in one iteration; with two environments of six tasks, about as many episodes as TrimGRPO's 48.
        batch_size, n_epochs: of each update.
        learning_rate, final_learning_rate: of the actor, linear between; the critic's is ten times as high.
        action_std: spread of each action, fixed [action units].
    """

    envs_per_task: int = 2
    n_steps: int = 24
    batch_size: int = 288
    n_epochs: int = 2
    learning_rate: float = 2e-4
    final_learning_rate: float = 2e-5
    action_std: float = 0.15


@dataclass(frozen=True)
class Subject:
    """What is trained, where, and how long: the same for both learners."""

    folder: str
    factory: EnvFactory
    tasks: tuple[str, ...]
    horizon: int
    timesteps: int
    mean_steps: dict[str, float]  # of each task at the horizon, on validation states
    trim: TrimConfig

    def load(self) -> StatePolicy:
        """Returns a fresh copy of the base."""
        policy = load_policy(self.folder)
        if not isinstance(policy, StatePolicy):
            raise InvalidSpec(f"{self.folder} must hold a StatePolicy, got {type(policy).__name__}")
        return policy


@dataclass(frozen=True)
class Cost:
    """What a training took; validation counts in its minutes and not in its samples."""

    samples: int  # physical steps
    minutes: float


class KeepBest(BaseCallback):
    """Ends after the budget of physical steps and, as TrimGRPO does, validates from time to time and keeps the best weights."""

    def __init__(self, subject: Subject, settings: PPOSettings, evaluator: Evaluator) -> None:
        super().__init__()
        self._subject = subject
        self._settings = settings
        self._evaluator = evaluator
        self._score: tuple[float, float] | None = None
        self._num_validations = -1  # the first is of the base, which may stay the best
        self.samples = 0
        self.best: StatePolicy | None = None
        self._started = time.perf_counter()

    def learning_rate(self, _: float) -> float:
        """Falls as TrimGRPO's does; SB3 offers its progress in calls, of which it does not know how many there will be."""
        progress = min(1.0, self.samples / self._subject.timesteps)
        return (1 - progress) * self._settings.learning_rate + progress * self._settings.final_learning_rate

    def _on_training_start(self) -> None:
        self._validate()

    def _on_step(self) -> bool:
        self.samples += sum(info["chunk"]["executed_steps"] for info in self.locals["infos"])
        return self.samples < self._subject.timesteps

    def _on_rollout_start(self) -> None:
        if self.samples >= (self._num_validations + 1) * self._subject.timesteps / self._subject.trim.num_validations:
            self._validate()

    def _on_training_end(self) -> None:
        self._validate()

    def _validate(self) -> None:
        self._num_validations += 1
        assert isinstance(self.model.policy, ChunkActorCriticPolicy)
        policy, trim = self.model.policy.to_chunk_policy(), self._subject.trim
        arm = self._evaluator.evaluate(policy, self._subject.horizon, trim.validation_states, split="validation")
        assert trim.success_floor is not None
        score = checkpoint_score(arm, trim.success_floor - trim.success_tolerance)
        if self._score is None or score < self._score:
            self._score, self.best = score, policy
        say(f"PPO {time.perf_counter() - self._started:5.0f} s {self.samples:8d} steps", validation_row(arm))


def train_ppo(subject: Subject, settings: PPOSettings) -> tuple[StatePolicy, Cost]:
    """Trains with SB3's PPO; returns the best checkpoint and its cost."""
    started = time.perf_counter()
    base = subject.load()
    makers: list[Callable[[], gym.Env[Any, Any]]] = [
        partial(make_chunk_env, subject, base, task) for task in subject.tasks for _ in range(settings.envs_per_task)
    ]
    envs = DummyVecEnv(makers)
    with Evaluator(subject.factory, num_workers=0) as evaluator:
        keeper = KeepBest(subject, settings, evaluator)
        model = PPO(
            ChunkActorCriticPolicy,
            envs,
            policy_kwargs={"policy": base, "execute_horizon": subject.horizon, "action_std": settings.action_std},
            learning_rate=keeper.learning_rate,
            n_steps=settings.n_steps,
            batch_size=settings.batch_size,
            n_epochs=settings.n_epochs,
            gamma=1.0,
            gae_lambda=1.0,
            clip_range=subject.trim.clip_low,
            max_grad_norm=subject.trim.max_grad_norm,
            seed=subject.trim.seed,
            device="cpu",
        )
        model.learn(subject.timesteps, callback=keeper)  # at most: a call runs at least one step, so the callback ends it
        envs.close()
    assert keeper.best is not None
    return keeper.best, Cost(keeper.samples, (time.perf_counter() - started) / 60)


def make_chunk_env(subject: Subject, base: StatePolicy, task: str) -> gym.Env[Any, Any]:
    """Returns one task under stage 2's reward, with a chunk as its action."""
    mean, trim = subject.mean_steps[task], subject.trim
    limit = min(MAX_EPISODE_STEPS, max(1, int(trim.step_limit_factor * mean)))
    kwargs = {**subject.factory.kwargs, "tasks": [task], "max_episode_steps": limit}
    env = EncodeInstruction(EnvFactory(subject.factory.id, kwargs)(), instruction_encoder(base))
    reward = TrimReward(
        beta=0.0,
        kappa=trim.kappa,
        lam=trim.lam,
        base_steps=trim.base_steps_factor * mean,
        sigma_floor=trim.sigma_floor_fraction * mean,
        mode=trim.penalty_mode,
        one_sided=trim.penalty_one_sided,
        group_size=trim.group_size,
    )
    return FailAtTimeLimit(ApplyTrimReward(ExecuteChunk(env, base.spec.chunk_size, subject.horizon), reward))


def train_grpo(subject: Subject) -> tuple[StatePolicy, Cost]:
    """Trains with stage 2 of TrimGRPO; returns the best checkpoint and its cost."""
    started = time.perf_counter()
    policy = subject.load()

    def show(trainer: TrimGRPO) -> None:
        row = trainer.state.rows[-1]
        if "validation_success" in row:
            say(f"GRPO {row['seconds']:5.0f} s {trainer.num_timesteps:8d} steps", row)

    trainer = TrimGRPO(policy, subject.factory, subject.trim).learn(subject.timesteps, callback=show)
    return policy, Cost(trainer.num_timesteps, (time.perf_counter() - started) / 60)


def say(label: str, row: dict[str, Any]) -> None:
    """Prints a line of progress."""
    costs = f"{number(row['validation_steps'])} steps, {number(row['validation_calls'])} calls"
    print(f"{label}: validation success {percent(row['validation_success'])}, {costs}", flush=True)


def make_subject(folder: str, seed: int, options: argparse.Namespace, store: ArmStore) -> Subject:
    """Measures the base on validation states, which sets what both learners are given."""
    facts, policy = load_facts(folder), load_policy(folder)
    if facts is None or facts.env is None:
        raise InvalidSpec(f"{folder} must be a checkpoint that names its environment in policytrim.json, got none")
    factory = EnvFactory(facts.env, facts.env_kwargs)
    with Evaluator(factory, num_workers=0) as evaluator:
        stock, entering = (
            store.get(arm_name(horizon), partial(evaluator.evaluate, policy, horizon, options.validation_states, split="validation"))
            for horizon in (policy.spec.horizon, options.horizon)
        )
    trim = TrimConfig(
        stage1_fraction=0.0,
        warm_start=None,
        windows=(options.horizon,),
        success_floor=max(stock.success_rate, entering.success_rate),
        validation_states=options.validation_states,
        num_validations=options.validations,
        num_workers=0,
        seed=seed,
    )
    tasks = tuple(str(task) for task in evaluator.tasks)
    return Subject(folder, factory, tasks, options.horizon, options.timesteps, mean_steps_by_task(entering), trim)


def trained(folder: Path, train: Callable[[], tuple[StatePolicy, Cost]]) -> tuple[StatePolicy, Cost]:
    """Returns a checkpoint and its cost: from the folder, or trained now and kept there."""
    if not (folder / "cost.json").exists():
        policy, cost = train()
        policy.save_pretrained(str(folder))
        write_json_atomic(folder / "cost.json", asdict(cost))  # last: it makes the folder complete
    kept = load_policy(str(folder))
    assert isinstance(kept, StatePolicy)
    return kept, Cost(**json.loads((folder / "cost.json").read_text(encoding="utf-8")))


def run_seed(folder: str, seed: int, options: argparse.Namespace) -> tuple[dict[str, EfficiencyReport], dict[str, Cost]]:
    """Trains from one base both ways; returns the arms on the test states, and what each training took."""
    out = options.out / f"seed-{seed}"
    subject = make_subject(folder, seed, options, ArmStore(out / "arms" / "validation"))
    learners = {"SB3 PPO": partial(train_ppo, subject, PPOSettings()), "TrimGRPO, stage 2": partial(train_grpo, subject)}
    base = subject.load()
    policies: dict[str, tuple[StatePolicy, int]] = {"base, stock": (base, base.spec.horizon), "base": (base, subject.horizon)}
    costs = {}
    for name, train in learners.items():
        print(f"seed {seed}: {name}", flush=True)
        policy, costs[name] = trained(out / name.replace(" ", "-").replace(",", ""), train)
        policies[name] = (policy, subject.horizon)
    store = ArmStore(out / "arms")
    with Evaluator(subject.factory, num_workers=0) as evaluator:
        arms = {
            name: store.get(name, partial(evaluator.evaluate, policy, horizon, options.test_states))
            for name, (policy, horizon) in policies.items()
        }
    return arms, costs


def table(arms: dict[str, EfficiencyReport], costs: dict[str, list[Cost]]) -> str:
    """Returns the comparison in Markdown; samples and minutes are means over the seeds."""
    lines = [
        "| policy | h | success | calls | steps | steps, all | samples | minutes |",
        "|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    for name, arm in arms.items():
        spent = costs.get(name, [])
        mean = {key: sum(getattr(cost, key) for cost in spent) / len(spent) if spent else 0 for key in ("samples", "minutes")}
        cells = [
            name,
            str(arm.execute_horizon),
            f"{percent(arm.success_rate)} {interval_words(arm.success_rate_ci95)}",
            *map(number, (arm.num_replans_mean_success, arm.steps_mean_success, arm.steps_restricted_mean)),
            f"{mean['samples']:,.0f}",
            f"{mean['minutes']:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Runs all seeds, pools them and writes table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", nargs="+", metavar="FOLDER", required=True, help="base checkpoints, one training seed each")
    parser.add_argument("--horizon", type=int, default=16, help="actions that run of each chunk")
    parser.add_argument("--timesteps", type=int, default=500_000, help="physical training steps of each learner")
    parser.add_argument("--validation-states", type=int, default=30, help="of each task")
    parser.add_argument("--validations", type=int, default=6, help="in each training")
    parser.add_argument("--test-states", type=int, default=100, help="of each task")
    parser.add_argument("--out", type=Path, default=Path("runs/weights"))
    options = parser.parse_args()
    settings = {**{key: value for key, value in vars(options).items() if key != "out"}, "ppo": asdict(PPOSettings())}
    keep_settings(options.out, settings)
    results = [run_seed(folder, seed, options) for seed, folder in enumerate(options.policy)]
    arms = {name: pool_arms(name, {seed: of_seed[name] for seed, (of_seed, _) in enumerate(results)}) for name in results[0][0]}
    costs = {name: [of_seed[name] for _, of_seed in results] for name in results[0][1]}
    command = " ".join(["python", "benchmarks/weights_sb3_or_grpo.py", *sys.argv[1:]])
    values = {
        "command": command,
        "settings": settings,
        "costs": {name: [asdict(cost) for cost in spent] for name, spent in costs.items()},
        "arms": [arm.to_json() for arm in arms.values()],
    }
    write_json_atomic(options.out / "weights.json", values)
    write_atomic(options.out / "weights.md", f"{table(arms, costs)}\n\n`{command}`\n")
    print(table(arms, costs))


if __name__ == "__main__":
    main()
