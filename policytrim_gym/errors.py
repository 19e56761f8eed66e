"""Errors of this package, each named after the rule that was broken.

All share the base `PolicyTrimError`, so that a command line can turn any of them into one line, and all derive from the built-in
class that a caller would expect (`ValueError`, `KeyError`, ...).
"""

from __future__ import annotations


class PolicyTrimError(Exception):
    """Base of every error that this package raises on purpose."""

    def __str__(self) -> str:
        # KeyError would print the repr of its message; every message here is a sentence.
        return str(self.args[0]) if self.args else ""


class InvalidChunk(PolicyTrimError, ValueError):
    """An action or a chunk of them has the wrong shape, or holds a value that is not finite or beyond its range."""


class InvalidHorizon(PolicyTrimError, ValueError):
    """An execute horizon is outside 1..chunk_size, or leaves no room for the inference delay."""


class InvalidSpec(PolicyTrimError, ValueError):
    """The description of a policy, an environment or a robot contradicts itself or another one, or asks for what there is not."""


class InvalidConfig(PolicyTrimError, ValueError):
    """A configuration has an unknown key, a wrong type or a value out of range."""


class InvalidRollout(PolicyTrimError, ValueError):
    """The outcomes of rollouts (success, steps, returns) do not fit together or are not finite."""


class MissingObservation(PolicyTrimError, KeyError):
    """An observation lacks a key that the policy needs, or holds it with the wrong shape."""


class UnknownTask(PolicyTrimError, ValueError):
    """A task name is not one of the environment's."""


class UnknownSplit(PolicyTrimError, ValueError):
    """A split is not one of train, validation, test."""


class InitialStateOutOfRange(PolicyTrimError, IndexError):
    """The index of an initial state is outside 0..num_initial_states - 1."""


class MismatchedTransform(PolicyTrimError, ValueError):
    """A transform of an observation map got values whose shape, type or range it does not take."""


class CorruptCheckpoint(PolicyTrimError, ValueError):
    """A checkpoint folder is incomplete, truncated or of another architecture."""


class UnknownPolicy(PolicyTrimError, ValueError):
    """A policy URI names nothing that can be loaded."""


class UnknownSelector(PolicyTrimError, ValueError):
    """The text or path of a horizon selector names nothing that can be loaded."""


class MismatchedSelector(PolicyTrimError, ValueError):
    """A trained selector is used with another policy, other horizons or another observation than it was trained with."""


class WorkerFailed(PolicyTrimError, RuntimeError):
    """A rollout worker process died or raised."""


class NoDemonstrations(PolicyTrimError, RuntimeError):
    """The scripted expert did not produce enough successful demonstrations."""


class CannotWrite(PolicyTrimError, OSError):
    """A file could not be written (disk full, no permission); what was there before is untouched."""


class MissingFile(PolicyTrimError, FileNotFoundError):
    """A file that is needed is not there: one of the distribution, a robot file, its URDF or a mesh."""


class MissingExtra(PolicyTrimError, ImportError):
    """A feature needs a package that is not installed; the message names the extra to install."""


class MismatchedRollouts(PolicyTrimError, ValueError):
    """Two arms cannot be compared: their rollouts are not on the same tasks and initial states."""


class LimitsBroken(PolicyTrimError, ValueError):
    """A motion was faster than the velocity and acceleration limits of its joints allow."""


class CorruptReport(PolicyTrimError, ValueError):
    """A report file is missing, truncated or of another schema."""


class CorruptRecording(PolicyTrimError, ValueError):
    """A recording of a robot's topics is missing, no MCAP file, damaged, or holds nothing of the monitor."""


class InvalidStatistic(PolicyTrimError, ValueError):
    """A statistic was asked for of counts or values that cannot have it."""


class ProtocolError(PolicyTrimError, ValueError):
    """A message breaks the openpi protocol or its limits, or the other side does not speak it."""


class ServerUnreachable(PolicyTrimError, ConnectionError):
    """No policy server answers at an address, it refuses the client, or it closed the connection more often than was retried."""


class InferenceTimeout(PolicyTrimError, TimeoutError):
    """A policy server gave no chunk in time."""


class ServerFailed(PolicyTrimError, RuntimeError):
    """A policy server answered with an error of its own."""


class CannotListen(PolicyTrimError, OSError):
    """A server cannot take its port: another program has it, or the address is not one of this machine."""


class PolicyTrimWarning(UserWarning):
    """Base of our own warnings, which the command line shows as one line."""
