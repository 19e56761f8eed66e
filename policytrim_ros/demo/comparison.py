"""The table of a ROS demo: each policy through ROS 2 beside the same test states in Gymnasium."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from policytrim_gym.evaluation.comparison import EfficiencyRatios, compare_arms
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
from policytrim_gym.evaluation.report.words import factor, interval_words, number, percent
from policytrim_gym.evaluation.statistics import NonInferiority, ratio_of_means

COLUMNS = ("policy", "by", "h", "delay", "success", "steps", "calls", "wall-clock")


@dataclass(frozen=True)
class Measured:
    """One policy, run twice at the same test states.

    Args:
        name: of the policy.
        ros: its episodes through ROS 2.
        gym: its episodes in Gymnasium, at the delay that was measured.
        delay_steps: that delay before it was rounded [steps].
        num_refused: answers that the gates refused.
        stops: reasons for which the arm was stopped, without those after an episode.
    """

    name: str
    ros: EfficiencyReport
    gym: EfficiencyReport
    delay_steps: float
    num_refused: int
    stops: tuple[str, ...]

    @property
    def success(self) -> NonInferiority:
        """Success through ROS 2 minus success in Gymnasium, paired."""
        return compare_arms(self.gym, self.ros).success

    @property
    def ratios(self) -> EfficiencyRatios:
        """What ROS 2 needed over what Gymnasium needed, on the successes common to both."""
        return compare_arms(self.ros, self.gym).ratios

    def to_json(self) -> dict[str, Any]:
        """Returns what the arms themselves do not hold, as JSON-ready values."""
        return {
            "policy": self.name,
            "measured_delay_steps": self.delay_steps,
            "num_refused": self.num_refused,
            "stops": list(self.stops),
            "ros_over_gym": self.ratios.to_json(),
            "ros_minus_gym_success": self.success.to_json(),
        }


def mean_words(values: Sequence[float]) -> str:
    """Returns a mean with its 95 % interval by the percentile bootstrap, a dash without a value.

    >>> mean_words([20.0, 20.0, 20.0]), mean_words([])
    ('20.0 [20.0, 20.0]', '–')
    """
    mean = ratio_of_means(values, np.ones(len(values)))
    if mean.value is None or mean.ci95 is None:
        return number(None)
    return f"{number(mean.value)} [{number(mean.ci95.low)}, {number(mean.ci95.high)}]"


def table_lines(measured: Sequence[Measured]) -> list[str]:
    """Returns the table of all arms as lines of text: steps and calls over successes, wall-clock over all episodes.

    A policy that asks so and so many steps before its h are over runs what Gymnasium calls a horizon shorter by them, with that delay.
    """
    rows = [list(COLUMNS)]
    for policy in measured:
        for by, arm in (("ROS 2", policy.ros), ("Gymnasium", policy.gym)):
            successes = [record for record in arm.episodes if record.success]
            rows.append(
                [
                    policy.name,
                    by,
                    str(arm.execute_horizon),
                    f"{policy.delay_steps:.2f}" if by == "ROS 2" else str(arm.inference_delay_steps),
                    f"{percent(arm.success_rate)} {interval_words(arm.success_rate_ci95)}",
                    mean_words([record.steps for record in successes]),
                    mean_words([record.num_replans for record in successes]),
                    f"{arm.wall_clock_s_mean:.2f} s",
                ]
            )
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in rows]
    if any(policy.gym.execute_horizon != policy.ros.execute_horizon for policy in measured):
        lines.append("h in Gymnasium is that of ROS 2 less the delay: the same actions of each chunk run")
    return lines


def difference_lines(measured: Sequence[Measured]) -> list[str]:
    """Returns a sentence for each policy: how ROS 2 differs from Gymnasium on the same states."""
    lines = []
    for policy in measured:
        ratios, success = policy.ratios, policy.success
        lines.append(
            f"{policy.name}: ROS 2 against Gymnasium on the same {success.num_pairs} states: "
            f"success {100 * success.difference:+.1f} points "
            f"{interval_words(success.ci95)}, steps {factor(ratios.steps.value, ratios.steps.ci95)}, "
            f"calls {factor(ratios.replans.value, ratios.replans.ci95)}"
        )
        if policy.num_refused or policy.stops:
            words = ", ".join(f"{reason} {policy.stops.count(reason)}x" for reason in dict.fromkeys(policy.stops)) or "none"
            lines.append(f"{policy.name}: {policy.num_refused} answers were refused; stops of the arm: {words}")
    return lines
