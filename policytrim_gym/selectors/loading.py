"""Turns the text of `--selector` into a selector."""

from __future__ import annotations

import re
from collections.abc import Callable

from policytrim_gym.errors import UnknownSelector
from policytrim_gym.selectors.action_delta import ActionDeltaSelector
from policytrim_gym.selectors.disagreement import DisagreementSelector
from policytrim_gym.selectors.learned import LearnedSelector
from policytrim_gym.selectors.selector import FixedSelector, HorizonSelector

SelectorMaker = Callable[[str, str], HorizonSelector]
"""Takes what stands behind the prefix, and the URI of the policy."""


def load_selector(text: str, policy_uri: str) -> HorizonSelector:
    """Returns the selector that a text names.

    Args:
        text: `prefix:settings` with a prefix of `SELECTOR_KINDS`, such as "fixed:16", "fixed:16x2",
            "disagreement:0.5" or "action-delta:0.2:8,16,32x1.5"; else a folder with a learned
            selector, or its model.zip. A model is loaded with cloudpickle: only from someone you trust, see `LearnedSelector.load`.
        policy_uri: of the policy whose chunks it shall choose from.

    Raises:
        UnknownSelector: the text names nothing that can be loaded; the message says what was tried.
        InvalidConfig, InvalidHorizon: the settings of a rule, see `PrefixSelector.parse`.
        CorruptCheckpoint, MismatchedSelector: as `LearnedSelector.load`.

    >>> load_selector("fixed:16x1.5", "runs/base").name
    'h=16 x1.5'
    """
    prefix, separator, settings = text.partition(":")
    if separator and prefix in SELECTOR_KINDS:
        return SELECTOR_KINDS[prefix](settings, policy_uri)
    try:
        return LearnedSelector.load(text, policy_uri)
    except UnknownSelector as error:
        kinds = ", ".join(f"{kind}:..." for kind in SELECTOR_KINDS)
        raise UnknownSelector(f"{error}; or one of {kinds}") from error


def _fixed(settings: str, policy_uri: str) -> HorizonSelector:
    found = re.fullmatch(r"(?P<horizon>\d+)(?:x(?P<rate>\d+(?:\.\d+)?))?", settings)
    if found is None:
        raise UnknownSelector(f'fixed:{settings}: expected "fixed:16", or "fixed:16x2" for playback rate 2')
    return FixedSelector(int(found["horizon"]), float(found["rate"] or 1.0))


SELECTOR_KINDS: dict[str, SelectorMaker] = {
    "fixed": _fixed,
    DisagreementSelector.rule: lambda settings, policy_uri: DisagreementSelector.parse(settings),
    ActionDeltaSelector.rule: lambda settings, policy_uri: ActionDeltaSelector.parse(settings),
}
"""What makes a selector of each prefix."""
