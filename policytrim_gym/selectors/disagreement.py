"""Runs a chunk as far as it agrees with what the chunk before had planned for the same steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from policytrim_gym.errors import InvalidHorizon
from policytrim_gym.replan import ReplanContext
from policytrim_gym.selectors.prefix_selector import PrefixSelector, steps_before
from policytrim_gym.spec import PolicySpec


class DisagreementSelector(PrefixSelector):
    """Runs the part of a chunk that the previous chunk's unplayed rest confirms.

    Step t is confirmed when

        ||a_t - b_t|| <= threshold * sqrt(mean_s ||a_s||^2)

    where a is the new chunk, b the rest of the previous one, and the mean goes over all of the new chunk. The threshold is a share of the
    chunk's own action length: actions in other units, all of them, change no choice. A dimension that is small beside the others counts
    little, so a policy's actions should be normalised, as those of learned policies are.

    The steps before the first that is not confirmed are trusted. Where every step of the overlap is confirmed, nothing speaks against the
    steps beyond it, and the longest horizon runs. After a chunk that was played whole, and in an episode's first window, there is no
    overlap to judge by; then `fallback` runs, which is shorter than a chunk and so leaves an overlap for the next time.

    One chunk of a deterministic policy is enough. Backward coherence (BID, arXiv 2408.17355) uses the same comparison to pick one of
    several sampled chunks, and A3 (arXiv 2605.11567) runs the longest prefix that it has verified itself. Unlike `ActionDeltaSelector`,
    which looks at one chunk alone, it needs the one before.

    Args:
        horizons: to choose from, strictly increasing, the first below chunk_size [steps].
        threshold: largest disagreement that still counts as agreement, as a share of the chunk's root mean square action; 0 asks for equal
            plans.
        fallback: horizon without an overlap, one of `horizons`, below chunk_size; None is the longest of them below chunk_size [steps].
        playback_rate: of every choice, above 0.

    Raises:
        InvalidHorizon, InvalidConfig, InvalidSpec: an argument out of range.

    >>> from policytrim_gym.chunk import ActionChunk
    >>> selector = DisagreementSelector((1, 2, 4), threshold=0.1)
    >>> old, new = ActionChunk([[1.0], [1.0], [1.0], [1.0]]), ActionChunk([[1.0], [1.0], [-1.0], [-1.0]])
    >>> contexts = [ReplanContext({}, new), ReplanContext({}, new, old, consumed_steps=1), ReplanContext({}, old, old, consumed_steps=1)]
    >>> [choice.execute_horizon for choice in selector.select(contexts)]
    [2, 2, 4]
    """

    rule = "disagreement"

    def __init__(self, horizons: Sequence[int], threshold: float, fallback: int | None = None, playback_rate: float = 1.0) -> None:
        super().__init__(horizons, threshold, playback_rate)
        if fallback is not None and fallback not in self.horizons:
            raise InvalidHorizon(f"fallback must be one of the horizons {self.horizons}, got {fallback}")
        self.fallback = fallback

    @property
    def name(self) -> str:
        return super().name + ("" if self.fallback is None else f" first {self.fallback}")

    def check_policy(self, spec: PolicySpec) -> None:
        super().check_policy(spec)
        shortest = self.horizons[0] if self.fallback is None else self.fallback
        if shortest >= spec.chunk_size:
            raise InvalidHorizon(
                f"disagreement needs a horizon that leaves an overlap, below the chunk_size {spec.chunk_size}: "
                f"got horizons {self.horizons}, fallback {self.fallback}"
            )

    def trusted_steps(self, context: ReplanContext) -> int:
        assert context.chunk is not None
        disagreement = context.overlap_disagreement()
        if not len(disagreement):
            return context.chunk.chunk_size - 1 if self.fallback is None else self.fallback
        action_length = np.sqrt(np.mean(np.sum(np.square(context.chunk.actions, dtype=np.float64), axis=1)))
        unconfirmed = np.linalg.norm(disagreement, axis=1) > self.threshold * action_length
        return steps_before(unconfirmed, otherwise=context.chunk.chunk_size)
