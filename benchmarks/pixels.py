"""The table from pixels: the tiny VLA on five tasks of Meta-World, both heads, three training seeds, every control on the same states.

    python benchmarks/pixels.py --head gaussian --out runs/pixels-gaussian
    python benchmarks/pixels.py --head flow --out runs/pixels-flow

Slow, uneven demonstrations; one camera of 64 pixels, the hand's own position and the instruction are all that the policy gets. Each seed
is an experiment of its own, as in headline.py. Stopped and started again, it goes on where it was.
"""

from __future__ import annotations

from functools import partial

from seeds import make_parser, run_seeds

from policytrim_gym.evaluation.report.verdict import Target
from policytrim_gym.experiments.config import META_WORLD, ExperimentConfig
from policytrim_gym.experiments.demos import PIXEL_TASKS, pixels_clone_config
from policytrim_gym.training.trim_config import TrimConfig
from policytrim_gym.training.warm_start import WarmStartConfig

TARGETS = {
    "gaussian": (Target("stock", "replans", 4.0), Target("stock", "steps", 1.3)),
    "flow": (Target("stock", "replans", 3.0), Target("stock", "steps", 1.2)),
}


def pixels_config(head: str, seed: int) -> ExperimentConfig:
    """Returns the experiment of one seed."""
    return ExperimentConfig(
        env=META_WORLD,
        env_kwargs={"observation": "pixels"},
        tasks=PIXEL_TASKS,
        clone=pixels_clone_config(head),
        trim=TrimConfig(
            groups_per_task=3,
            learning_rate=1e-4,
            num_minibatches=4,
            max_chunks_per_pass=128,
            validation_states=20,
            num_validations=4,
            warm_start=WarmStartConfig(playback_rates=(1.5, 2.0), states_per_task=80, gradient_steps=2000, batch_size=64),
        ),
        total_timesteps=350_000,
        horizons=(6, 12, 24),
        playback_rates=(1.0, 2.0),
        ensemble_horizon=6,
        delays=(1,),
        sweep_states=25,
        test_states=100,
        ablations=(),
        seed=seed,
    )


def main() -> None:
    """Runs all seeds and pools them."""
    parser = make_parser(__doc__)
    parser.add_argument("--head", choices=tuple(TARGETS), required=True)
    options = parser.parse_args()
    run_seeds(options, partial(pixels_config, options.head), TARGETS[options.head])


if __name__ == "__main__":
    main()
