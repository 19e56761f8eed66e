"""`policytrim clone`: a base policy from demonstrations of the environment's scripted expert."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from policytrim_gym.cli import options as shared
from policytrim_gym.errors import InvalidConfig

if TYPE_CHECKING:
    from policytrim_gym.policies.checkpoint_facts import CheckpointFacts
    from policytrim_gym.training.clone import CloneConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    shared.add_out(parser)
    shared.add_env(parser)
    parser.add_argument("--demonstrator", choices=("slow-uneven", "full-speed"), default=None, help="how the expert moves")
    parser.add_argument("--demos", metavar="N", type=shared.number(int, 1), default=None, help="successful demonstrations of each task")
    parser.add_argument("--seed", metavar="N", type=shared.number(int, 0), default=None, help="of demonstrations, weights and batches")
    parser.add_argument("--workers", metavar="N", type=shared.number(int, 1), default=2, help="processes that demonstrate")
    shared.add_config(parser)
    shared.add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Records demonstrations, trains on them, saves the checkpoint; a folder that holds the same clone already is left as it is.

    Raises:
        InvalidConfig: a wrong setting, or a folder with another clone.
        NoDemonstrations: the expert fails too often.
    """
    from policytrim_gym.config import to_mapping
    from policytrim_gym.policies.checkpoint_facts import load_facts
    from policytrim_gym.training.clone import CloneConfig

    config = shared.config_of(options, CloneConfig, demonstrator=options.demonstrator, demos_per_task=options.demos, seed=options.seed)
    env, env_kwargs = shared.env_of(options)
    wanted = (env, env_kwargs, to_mapping(config))
    facts = load_facts(options.out) if (options.out / "model.safetensors").exists() else None
    if facts is None:
        facts = _clone(options, config, env, env_kwargs)
    elif wanted != (facts.env, facts.env_kwargs, facts.settings):
        raise InvalidConfig(f"{options.out} holds a clone with other settings: {facts.env} {facts.env_kwargs}; choose another --out")
    result = {"policy": str(options.out), "env": facts.env, "env_kwargs": facts.env_kwargs, **(facts.demonstrations or {})}
    if shared.write_json(options, result):
        return
    for task, counts in (facts.demonstrations or {}).get("tasks", {}).items():
        print(f"{task}: {counts['kept']} demonstrations of {counts['steps_mean']:.0f} steps, {counts['failed']} failed")
    print(f"{options.out} holds the clone, stock horizon {facts.execute_horizon} of {config.chunk_size}")


def _clone(options: argparse.Namespace, config: CloneConfig, env: str, env_kwargs: dict[str, Any]) -> CheckpointFacts:
    """Does the work and returns what the checkpoint knows; the weights are written last and make the folder complete."""
    from tqdm import tqdm

    from policytrim_gym.config import to_mapping
    from policytrim_gym.policies.checkpoint_facts import CheckpointFacts
    from policytrim_gym.rollouts.env_factory import EnvFactory
    from policytrim_gym.training.clone import clone
    from policytrim_gym.training.demonstrations import record_demonstrations

    factory = EnvFactory(env, env_kwargs)
    probe = factory()
    tasks = tuple(getattr(probe.unwrapped, "tasks", ()))
    action_kinds = getattr(probe.unwrapped, "action_kinds", None)
    control_dt_s = getattr(probe.unwrapped, "control_dt_s", None)
    probe.close()
    with tqdm(total=len(tasks), desc="demonstrations", unit="task") as bar:
        demos = record_demonstrations(
            factory, tasks, config.demonstrator, config.demos_per_task, config.seed, options.workers, lambda task: bar.update()
        )
    with tqdm(total=config.gradient_steps, desc="cloning", unit="step") as bar:

        def show(step: int, loss: float) -> None:
            bar.update()
            if step % 100 == 0:
                bar.set_postfix(loss=f"{loss:.4f}")

        policy = clone(demos, config, action_kinds, control_dt_s, show)
    facts = CheckpointFacts(config.execute_horizon, env, env_kwargs, demos.summary(), to_mapping(config))
    facts.save(options.out)
    policy.save_pretrained(str(options.out))
    return facts
