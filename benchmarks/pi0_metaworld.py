"""The table of a small pi0 on Meta-World: the real architecture, cloned from pixels and trimmed by Flow-SDE in this process.

    python benchmarks/pi0_metaworld.py --seeds 0 --out runs/pi0-metaworld

Slow, uneven demonstrations of three tasks whose goal the front camera sees; the model has 0.8 M parameters and starts from random
weights, because none can be downloaded. Each seed is an experiment of its own, as in headline.py. Stopped and started again, it goes on.
"""

from __future__ import annotations

from seeds import make_parser, run_seeds

from policytrim_gym.evaluation.report.verdict import Target
from policytrim_gym.experiments.config import META_WORLD, ExperimentConfig
from policytrim_gym.policies.pi0_small import SmallPi0Config
from policytrim_gym.training.clone_config import CloneConfig
from policytrim_gym.training.trim_config import TrimConfig
from policytrim_gym.training.warm_start import WarmStartConfig

TASKS = ("door-open-v3", "button-press-topdown-v3", "drawer-close-v3")
TARGETS = (Target("stock", "replans", 3.0), Target("stock", "steps", 1.2))


def pi0_config(seed: int) -> ExperimentConfig:
    """Returns the experiment of one seed."""
    return ExperimentConfig(
        env=META_WORLD,
        env_kwargs={"observation": "pixels"},
        tasks=TASKS,
        clone=CloneConfig(
            model="pi0",
            pi0=SmallPi0Config(hidden_size=96, num_layers=3, vision_layers=3, patch_size=16, prompt_length=10),
            demos_per_task=60,
            chunk_size=24,
            execute_horizon=6,
            gradient_steps=6000,
            batch_size=64,
        ),
        trim=TrimConfig(
            groups_per_task=2,
            learning_rate=5e-5,
            advantage_eps=0.15,
            exploration_start={"noise": 0.5},
            exploration_end={"noise": 0.2},
            num_minibatches=4,
            max_chunks_per_pass=64,
            validation_states=20,
            num_validations=4,
            warm_start=WarmStartConfig(
                playback_rates=(1.5, 2.0), states_per_task=60, gradient_steps=1500, batch_size=64, learning_rate=5e-4
            ),
        ),
        total_timesteps=120_000,
        horizons=(6, 12, 24),
        playback_rates=(1.0, 2.0),
        ensemble_horizon=6,
        delays=(),
        sweep_states=25,
        test_states=60,
        ablations=(),
        seed=seed,
    )


def main() -> None:
    """Runs all seeds and pools them."""
    run_seeds(make_parser(__doc__).parse_args(), pi0_config, TARGETS)


if __name__ == "__main__":
    main()
