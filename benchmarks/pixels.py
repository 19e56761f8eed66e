"""The table from pixels: the tiny VLA on five tasks of Meta-World, both heads, three training seeds, every control on the same states.

    python benchmarks/pixels.py --head gaussian --out runs/pixels-gaussian
    python benchmarks/pixels.py --head flow --out runs/pixels-flow
    python benchmarks/pixels.py --head gaussian --chunk-size 48 --out runs/pixels-48

Slow, uneven demonstrations; one camera of 64 pixels, the hand's own position and the instruction are all that the policy gets. Each seed
is an experiment of its own, as in headline.py. Stopped and started again, it goes on where it was.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from seeds import make_parser, run_seeds

from policytrim_gym.evaluation.report.verdict import Target
from policytrim_gym.experiments.config import META_WORLD, ExperimentConfig
from policytrim_gym.experiments.demos import PIXEL_TASKS, pixels_clone_config
from policytrim_gym.training.trim_config import TrimConfig
from policytrim_gym.training.warm_start import WarmStartConfig

TARGETS = {  # set for chunks of 24 and more
    "gaussian": (Target("stock", "replans", 4.0), Target("stock", "steps", 1.3)),
    "flow": (Target("stock", "replans", 3.0), Target("stock", "steps", 1.2)),
}


PUBLISHED = TrimConfig(
    groups_per_task=3,
    learning_rate=1e-4,
    num_minibatches=4,
    max_chunks_per_pass=128,
    validation_states=20,
    num_validations=4,
    warm_start=WarmStartConfig(playback_rates=(1.5, 2.0), states_per_task=80, gradient_steps=2000, batch_size=64),
)
"""Of the tables at chunks of 24: stage 1 with mixed windows, a quarter of the budget."""


def whole_chunk_trim(chunk_size: int) -> TrimConfig:
    """Returns the trim whose stage 1 runs whole chunks only, more of them in an iteration and with larger steps; see pixels_stage1.py."""
    return replace(PUBLISHED, windows=(chunk_size,), groups_per_task=6, learning_rate=2e-4, average_decay=0.5)


def pixels_config(head: str, chunk_size: int, seed: int) -> ExperimentConfig:
    """Returns the experiment of one seed."""
    stock, is_published = chunk_size // 4, chunk_size == 24
    return ExperimentConfig(
        env=META_WORLD,
        env_kwargs={"observation": "pixels"},
        tasks=PIXEL_TASKS,
        clone=replace(pixels_clone_config(head), chunk_size=chunk_size, execute_horizon=stock),
        trim=PUBLISHED if is_published else replace(whole_chunk_trim(chunk_size), stage1_fraction=0.5),
        total_timesteps=350_000 if is_published else 700_000,
        horizons=(stock, chunk_size // 2, chunk_size),
        playback_rates=(1.0, 2.0),
        ensemble_horizon=stock,
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
    parser.add_argument("--chunk-size", type=int, choices=(24, 48), default=24, help="actions; stock runs a quarter of them")
    options = parser.parse_args()
    run_seeds(options, partial(pixels_config, options.head, options.chunk_size), TARGETS[options.head])


if __name__ == "__main__":
    main()
