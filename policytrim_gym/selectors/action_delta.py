"""Runs a chunk until just before its next abrupt action."""

from __future__ import annotations

import numpy as np

from policytrim_gym.replan import ReplanContext
from policytrim_gym.selectors.prefix_selector import PrefixSelector, steps_before


class ActionDeltaSelector(PrefixSelector):
    """Ends a window before the first action that differs abruptly from the action before it: a gripper flip, a sharp turn.

    Step t is abrupt when max_d |a_t,d - a_(t-1),d| > threshold; the steps before it are trusted, all of them without one. So the policy
    is asked again with a fresh observation where the plan commits itself. A chunk's first action has none before it and is never abrupt.

    The threshold is in action units, not a share of the chunk: a gripper flips by the same amount in a fast chunk and in a slow one.
    Unlike `DisagreementSelector` it looks at one chunk alone and so works without an overlap.

    Args:
        horizons: to choose from, strictly increasing; the first runs even where an abrupt action comes sooner [steps].
        threshold: largest change between two actions that still counts as smooth [action units].
        playback_rate: of every choice, above 0.

    Raises:
        InvalidHorizon, InvalidConfig, InvalidSpec: an argument out of range.

    >>> from policytrim_gym.chunk import ActionChunk
    >>> grasp = ActionChunk([[0.1, -1.0], [0.1, -1.0], [0.1, 1.0], [0.1, 1.0]])  # the gripper closes at step 2
    >>> ActionDeltaSelector((1, 2, 4), threshold=0.5).select([ReplanContext({}, grasp)])
    [HorizonChoice(execute_horizon=2, playback_rate=1.0)]
    """

    rule = "action-delta"

    def trusted_steps(self, context: ReplanContext) -> int:
        assert context.chunk is not None
        change = np.abs(np.diff(context.chunk.actions, axis=0)).max(axis=1)  # (chunk_size - 1,); entry i: from action i to i + 1
        return steps_before(change > self.threshold, otherwise=context.chunk.chunk_size - 1) + 1
