"""What the demo runs: a checkpoint for the arm, and the settings that simulated arm and environment take from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from policytrim_gym.envs.arm.tasks import CAMERAS
from policytrim_gym.errors import InvalidConfig
from policytrim_gym.policies.checkpoint_facts import CheckpointFacts, load_facts
from policytrim_gym.policies.loading import load_policy
from policytrim_gym.policy import ChunkPolicy
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.spec import PolicySpec

ARM = "PolicyTrim/Arm-v0"


class Subject(NamedTuple):
    """A policy for one task of the arm."""

    folder: Path
    policy: ChunkPolicy
    facts: CheckpointFacts

    @property
    def task(self) -> str:
        """Name of the task."""
        return str(self.facts.env_kwargs["task"])

    def arm_arguments(self) -> dict[str, Any]:
        """Returns the arguments of sim.launch.py that are the policy's: it sees images in the size that it was made for."""
        size = image_size(self.policy.spec)
        return {"policy": self.folder, "task": self.task} | ({} if size is None else {"image_size": size})

    def environment(self, engine: str) -> EnvFactory:
        """Returns the same arm in Gymnasium, in an engine of physics."""
        size = image_size(self.policy.spec)
        pixels = {} if size is None else {"observation": "pixels", "image_size": size}
        return EnvFactory(self.facts.env or ARM, {**self.facts.env_kwargs, **pixels, "engine": engine})


def load_subject(folder: Path) -> Subject:
    """Loads a checkpoint.

    Raises:
        InvalidConfig: it is none, not for one task of the arm, or sees what the arm's cameras do not show.
    """
    facts = arm_facts(folder)
    subject = Subject(folder, load_policy(str(folder)), facts)
    image_size(subject.policy.spec)
    return subject


def arm_facts(folder: Path) -> CheckpointFacts:
    """Returns what a checkpoint knows.

    Raises:
        InvalidConfig: it is none, or not for one task of the arm.
    """
    facts = load_facts(folder) if folder.is_dir() else None
    if facts is None:
        raise InvalidConfig(f"{folder} must be a policy for the arm, it is none: run `make demo-arm` first, or give --base and --trimmed")
    if not str(facts.env).endswith(ARM) or not isinstance(facts.env_kwargs.get("task"), str):
        raise InvalidConfig(f"{folder} must be a policy for one task of {ARM}, got {facts.env} with {facts.env_kwargs}")
    return facts


def image_size(spec: PolicySpec) -> int | None:
    """Returns the side of the images that a policy sees [pixels], None where it sees none, or takes any.

    Raises:
        InvalidConfig: images of no camera of the arm, or of another shape than the simulated arm draws.

    >>> image_size(PolicySpec(8, 7, observation_shapes={"state": (11,), "image_wrist": (64, 64, 3)}))
    64
    """
    images = {key: shape for key, shape in spec.observation_shapes.items() if key.startswith("image_")}
    known = tuple(f"image_{camera.name}" for camera in CAMERAS)
    unknown = sorted(set(images) - set(known))
    if unknown:
        raise InvalidConfig(f"a policy for the simulated arm may see {known}, got one that sees {unknown[0]!r}")
    sides = {side for shape in images.values() for side in shape[:2]}
    if len(sides) > 1:
        raise InvalidConfig(f"images of the simulated arm are square and all of one size, got a policy that sees {images}")
    return sides.pop() if sides else None
