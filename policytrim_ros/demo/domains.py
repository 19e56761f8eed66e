"""DDS domains that nobody else on this machine uses."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType

from policytrim_gym.errors import CannotListen
from policytrim_ros.shared_memory import clear_unfinished_ports

HIGHEST_DOMAIN = 101
"""Above it the ports of a domain may be those of outgoing connections."""
_MOST_PARTICIPANTS = 8
"""So many of a domain's participants are looked for; the first ones to come have the first ports."""


class ClaimedDomain:
    """A DDS domain, drawn at random, that no one else has claimed and in which nobody is, until it is released or the process ends.

    A claim is a name in Linux's abstract namespace of sockets: the kernel gives it once, and takes it back with the process, also after
    kill -9. Who claims nothing is seen by the ports that Fast DDS takes: 7400 + 250 x domain + 10 + 2 x participant (DDSI-RTPS, 9.6.1.1).

    Args:
        numbers: the domains to draw from.

    Raises:
        CannotListen: all of them are in use.

    >>> with ClaimedDomain() as first, ClaimedDomain() as second:
    ...     first.number != second.number
    True
    """

    def __init__(self, numbers: Sequence[int] = range(1, HIGHEST_DOMAIN + 1)) -> None:
        clear_unfinished_ports()
        for number in secrets.SystemRandom().sample(numbers, len(numbers)):
            claim = _claimed(number)
            if claim is not None:
                self.number, self._claim = number, claim
                return
        raise CannotListen(f"one of the DDS domains {min(numbers)}..{max(numbers)} must be free, all {len(numbers)} are in use")

    @property
    def environment(self) -> dict[str, str]:
        """What has a process take part in it, unseen by other machines."""
        return {"ROS_DOMAIN_ID": str(self.number), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}

    def release(self) -> None:
        """Leaves the domain to others."""
        self._claim.close()

    def __enter__(self) -> ClaimedDomain:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.release()


def _claimed(number: int) -> socket.socket | None:
    """Returns what holds the claim on a domain, None where somebody has it."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with suppress(OSError):
        claim.bind(f"\0policytrim_ros/domain/{number}")
        if not _has_participants(number):
            return claim
    claim.close()
    return None


def _has_participants(number: int) -> bool:
    first = 7400 + 250 * number + 10
    for port in range(first, first + 2 * _MOST_PARTICIPANTS, 2):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                return True
    return False
