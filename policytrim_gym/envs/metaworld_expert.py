"""Meta-World's scripted experts, at full speed and at the pace of a human teleoperator."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.envs.pacer import Pacer
from policytrim_gym.errors import InvalidConfig

if TYPE_CHECKING:
    from policytrim_gym.envs.metaworld import MetaWorldEnv

DEMONSTRATORS = ("full-speed", "slow-uneven", "saturated")

SATURATION_GAIN = 5.0


class MetaWorldExpert:
    """Acts for Meta-World's scripted policy of the present task.

    "slow-uneven" scales the hand's motion by a pace that is drawn for each phase, uniform in [0.25, 1], and makes short pauses, as
    human teleoperation does. What needs its timing runs as written: the 10 steps after the gripper's command changes and the first 8
    steps of each contact. Half speed there breaks tasks (the peg is never inserted) and teaches a clone to hover over the puck.
    Free motion, and motion with the object in hand, is slowed.

    "saturated" moves along the same straight lines with the largest action that the actuators take, until it is near: about the fastest
    that these scripts can be, and so a reference for the steps that a task needs. It is no demonstrator to clone.

    Args:
        env: the environment that it acts in; its simulation is read for contacts.
        demonstrator: "full-speed", "slow-uneven" or "saturated".
        seed: of the pace and the pauses.
    """

    def __init__(self, env: MetaWorldEnv, demonstrator: str, seed: int = 0) -> None:
        if demonstrator not in DEMONSTRATORS:
            raise InvalidConfig(f"demonstrator must be one of {DEMONSTRATORS}, got {demonstrator!r}")
        self._env = env
        self._demonstrator = demonstrator
        self._random = np.random.default_rng(seed)
        self._pacer = Pacer(self._random)
        self._policies: dict[str, Any] = {}

    def reset(self) -> None:
        """Starts a new episode."""
        self._pacer = Pacer(self._random)

    def action(self, observation: Mapping[str, Any]) -> NDArray[np.float32]:
        """Returns the next action, (4,) in [-1, 1].

        It reads the environment's full state and not the observation, so it also demonstrates for pixels.
        """
        state = self._env.full_state.astype(np.float64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "Constant(s) may be too high": the clip is the answer to it
            action = np.clip(np.asarray(self._policy().get_action(state), dtype=np.float32), -1.0, 1.0)
        if self._demonstrator == "saturated":
            action[:3] *= min(SATURATION_GAIN, 1.0 / max(float(np.abs(action[:3]).max()), 1e-6))
        if self._demonstrator == "slow-uneven":
            action[:3] *= self._pacer.pace(gripper=float(action[3]), in_contact=touches_scene(self._env.simulation))
        return action

    def _policy(self) -> Any:
        from metaworld.policies import ENV_POLICY_MAP

        assert self._env.initial_state is not None
        task = self._env.initial_state.task
        if task not in self._policies:
            policy_class: Any = ENV_POLICY_MAP[task]  # declared as the abstract base
            self._policies[task] = policy_class()
        return self._policies[task]


def touches_scene(simulation: Any) -> bool:
    """Returns whether a geom of the hand is in contact with one that is not the hand's."""
    pairs = simulation.data.contact.geom
    if len(pairs) == 0:
        return False
    is_hand = _hand_geoms(simulation.model)
    return bool((is_hand[pairs[:, 0]] != is_hand[pairs[:, 1]]).any())


@lru_cache(maxsize=64)
def _hand_geoms(model: Any) -> NDArray[np.bool_]:
    """Returns which geoms belong to the hand and what hangs on it, (ngeom,)."""
    hand = {model.body("hand").id}
    for body in range(model.nbody):  # parents come before their children
        if int(model.body_parentid[body]) in hand:
            hand.add(body)
    return np.isin(model.geom_bodyid, list(hand))
