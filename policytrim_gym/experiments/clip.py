"""Records what one rollout looks like, for the side-by-side video."""

from __future__ import annotations

from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import InvalidSpec
from policytrim_gym.evaluation.evaluate import Evaluator
from policytrim_gym.evaluation.playback import PlaybackController
from policytrim_gym.evaluation.report.clip import Call, Clip
from policytrim_gym.evaluation.report.video import side_by_side_gif
from policytrim_gym.policy import ChunkPolicy, Observation
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.rollouts.episode import EpisodeRequest
from policytrim_gym.rollouts.worker import EnvSlot
from policytrim_gym.spec import PolicySpec

_IMAGE = "image_"


def record_clip(caption: str, policy: ChunkPolicy, factory: EnvFactory, request: EpisodeRequest) -> Clip:
    """Rolls a policy out in this process and returns the frames after each step, with what each call saw.

    Args:
        caption: shown above the frames.
        policy: predicts its best chunks.
        factory: of an environment with `unwrapped.render_frame()`.
        request: where it starts and how much of a chunk runs.

    Raises:
        InvalidSpec: the environment draws no frames.
        MissingExtra: it cannot be rendered here.
    """
    slot = EnvSlot(factory)
    with closing(slot.env):
        if not hasattr(slot.env.unwrapped, "render_frame"):
            raise InvalidSpec(f"{factory.name} draws no frames (env.unwrapped.render_frame)")
        controller = PlaybackController(policy)
        controller.start(0, request)
        result = slot.reset(request.seed, request.reset_options())
        frames: list[NDArray[np.uint8]] = []
        success: list[bool] = []
        calls: list[Call] = []
        while not result.done:
            images = seen_images(policy.spec, result.observation)
            calls.append(Call(len(frames), policy.spec.chunk_size, request.execute_horizon, images))
            [window] = controller.next_windows([0], [result.observation])
            for action in window.actions:
                result = slot.run(action[None])
                frames.append(slot.env.unwrapped.render_frame())
                success.append(result.success)
                if result.done:
                    break
    return Clip(caption, frames, success, calls)


def seen_images(spec: PolicySpec, observation: Observation) -> dict[str, NDArray[np.uint8]]:
    """Returns copies of the images that a policy with this spec takes from an observation, by camera.

    One that does not say what it needs is taken to see them all.
    """
    shapes = spec.observation_shapes
    keys = [key for key in observation if key.startswith(_IMAGE) and (key in shapes or not shapes)]
    return {key.removeprefix(_IMAGE): np.array(observation[key]) for key in keys}


def record_comparison(
    evaluator: Evaluator, base: ChunkPolicy, trimmed: ChunkPolicy, request_base: EpisodeRequest, request_trimmed: EpisodeRequest
) -> bytes:
    """Returns a GIF of base and trimmed policy from the same initial state, at equal time."""
    factory = evaluator.collector.factory
    left = record_clip(f"base, h={request_base.execute_horizon}", base, factory, request_base)
    right = record_clip(f"trimmed, h={request_trimmed.execute_horizon}", trimmed, factory, request_trimmed)
    return side_by_side_gif(left, right, control_dt_s=base.spec.control_dt_s or 0.05)
