"""What an environment with joints tells about the motion of an episode."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from policytrim_gym.robot.shortest_time import shortest_duration_s
from policytrim_gym.rollouts.episode import MotionTime


def measure_motion(env: gym.Env[Any, Any]) -> MotionTime | None:
    """Returns how long the joints moved in the running episode and could have moved; None where the environment has no joints.

    An environment has joints when its innermost one offers

    - `joint_path`: commanded joint positions at the control steps, the first row where the episode started, (S + 1, dof),
    - `motion_limits`: its `velocity` and `acceleration`, (dof,) each,
    - `control_dt_s`: duration of a control step [s].

    Commanded, because measured positions carry jitter and the lag of the controller.

    Raises:
        InvalidSpec: the path and the limits do not fit together.
    """
    joints: Any = env.unwrapped
    if not hasattr(joints, "joint_path"):
        return None
    path = np.asarray(joints.joint_path)
    limits = joints.motion_limits
    shortest_s = shortest_duration_s(path, limits.velocity, limits.acceleration)
    return MotionTime((len(path) - 1) * float(joints.control_dt_s), shortest_s)
