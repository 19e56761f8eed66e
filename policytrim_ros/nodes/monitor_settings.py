"""The parameters of monitor_node."""

from __future__ import annotations

from dataclasses import dataclass

from policytrim_gym.config import check_fields
from policytrim_ros.control.execution_health import ExecutionThresholds
from policytrim_ros.control.execution_monitor import MonitorConfig
from policytrim_ros.parameters import check_ranges, ranged


@dataclass(frozen=True)
class MonitorSettings:
    """What monitor_node counts, warns of and records.

    Args:
        robot: name of a file in config/robots, or the path of a YAML file; as policy_node's.
        control_dt_s: between two actions of a policy whose chunk_info does not say it [s]; policy_node's does.
        asynchronous: whether the arm goes on with a chunk while the next one is not there, likewise.
        still_velocity: up to which a joint stands still [rad/s], [m/s].
        settle_s: messages arrive at most this much later than others of the same moment; results come that much later [s].
        stop_grace_s: a stop so soon after a rollout's end belongs to it: what ran between them counts to no rollout [s].
        tracking_warn_rad: a measured joint further from where it was commanded to be is a warning [rad].
        tracking_error_rad: likewise an error [rad].
        gap_warn_s: a warning when the next chunk was waited for longer, without a step to run [s].
        still_warn_s: a stall, and a warning, when no joint moved for longer while chunks ran [s].
        inference_warn_s: a warning when the policy took longer [s].
        joint_states_timeout_s: an error when no joint states came for longer [s].
        record: folder for a recording, made anew, with -2, -3, ... appended where it exists; empty: none.
        record_images: cameras whose images are recorded too, such as "front,wrist"; empty: none.

    Raises:
        InvalidConfig: a value of another type or out of its range.
    """

    robot: str = "policytrim_arm"
    control_dt_s: float = ranged(0.05, 0.001, 10.0)
    asynchronous: bool = True
    still_velocity: float = ranged(0.02, 0.0, 1.0)
    settle_s: float = ranged(0.5, 0.05, 10.0)
    stop_grace_s: float = ranged(2.0, 0.0, 60.0)
    tracking_warn_rad: float = ranged(0.05, 0.0, 10.0)
    tracking_error_rad: float = ranged(0.2, 0.0, 10.0)
    gap_warn_s: float = ranged(0.1, 0.0, 60.0)
    still_warn_s: float = ranged(1.0, 0.0, 60.0)
    inference_warn_s: float = ranged(0.5, 0.0, 60.0)
    joint_states_timeout_s: float = ranged(0.5, 0.01, 60.0)
    record: str = ""
    record_images: str = ""

    def __post_init__(self) -> None:
        check_fields(self)
        check_ranges(self)

    @property
    def counting(self) -> MonitorConfig:
        """How the monitor counts."""
        return MonitorConfig(self.control_dt_s, self.asynchronous, self.still_velocity, self.settle_s, self.stop_grace_s)

    @property
    def thresholds(self) -> ExecutionThresholds:
        """What it warns of."""
        return ExecutionThresholds(
            self.tracking_warn_rad, self.tracking_error_rad, self.gap_warn_s, self.still_warn_s, self.inference_warn_s
        )

    @property
    def cameras(self) -> tuple[str, ...]:
        """Whose images are recorded."""
        return tuple(name for name in (word.strip() for word in self.record_images.split(",")) if name)
