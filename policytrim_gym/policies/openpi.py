"""A policy behind an openpi websocket server, ours or any other."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from policytrim_gym.chunk import ActionChunk
from policytrim_gym.errors import InferenceTimeout, InvalidChunk, InvalidConfig, InvalidSpec, ProtocolError
from policytrim_gym.latency import LatencyRecorder, LatencyStatistics
from policytrim_gym.policies.openpi_codec import DEFAULT_LIMITS, MessageEncoder, MessageLimits
from policytrim_gym.policies.openpi_connection import API_KEY_VARIABLE, OpenpiConnection, is_healthy
from policytrim_gym.policies.openpi_metadata import SIZES, known_facts
from policytrim_gym.policy import ChunkPolicy, Observation
from policytrim_gym.spec import PolicySpec


class OpenpiPolicy(ChunkPolicy):
    """Asks an openpi server for chunks, over one connection that is opened at once and again when it was lost.

    An observation is sent with the keys that it has; an ObservationMap around the policy gives them the names that a model expects. The
    spec is what the server's metadata says, as that of `policytrim serve` does; else what is given here; else the sizes of the first
    answer. The protocol knows no reset: a server that draws at random is not made repeatable by a seed.

    Args:
        uri: ws://host:port or wss://host:port.
        chunk_size, action_dim: sizes of a chunk, for a server that does not say them; what it says must agree.
        execute_horizon: actions of a chunk to run; by default what the server says, else all.
        control_dt_s: seconds between two actions, for a server that does not say it.
        action_kinds: "delta" or "position" for each dimension, for a server that does not say it.
        api_key: sent as the official client sends it; by default the environment's OPENPI_API_KEY.
        connect_timeout_s: for the first connection, and for each later one within the time of a call [s].
        inference_timeout_s: for a whole call, with lost connections and retries [s].
        max_retries: how often a lost connection is opened again within one call.
        limits: of what the server may send.

    Raises:
        UnknownPolicy: not such a URI.
        ServerUnreachable, ServerFailed, ProtocolError: nobody answers there, with an error, or not in this protocol.
        InvalidSpec: sizes that contradict the server's.

    >>> OpenpiPolicy("http://localhost:8000")
    Traceback (most recent call last):
    ...
    policytrim_gym.errors.UnknownPolicy: a policy server is ws://host:port or wss://host:port, got 'http://localhost:8000'
    """

    def __init__(
        self,
        uri: str,
        *,
        chunk_size: int | None = None,
        action_dim: int | None = None,
        execute_horizon: int | None = None,
        control_dt_s: float | None = None,
        action_kinds: Sequence[str] | None = None,
        api_key: str | None = None,
        connect_timeout_s: float = 10.0,
        inference_timeout_s: float = 60.0,
        max_retries: int = 2,
        limits: MessageLimits = DEFAULT_LIMITS,
    ) -> None:
        for name, value in (("connect_timeout_s", connect_timeout_s), ("inference_timeout_s", inference_timeout_s)):
            if not 0 < value < float("inf"):
                raise InvalidConfig(f"{name} must be a finite number above 0, got {value}")
        if max_retries < 0:
            raise InvalidConfig(f"max_retries must be at least 0, got {max_retries}")
        self._inference_timeout_s = inference_timeout_s
        self._latency = LatencyRecorder()
        self._encoder = MessageEncoder()
        self._lock = threading.Lock()  # one connection carries one request at a time
        self._connection = OpenpiConnection(
            uri,
            api_key or os.environ.get(API_KEY_VARIABLE),
            connect_timeout_s=connect_timeout_s,
            max_retries=max_retries,
            limits=limits,
        )
        self._connection.open()
        try:
            given: dict[str, Any] = {"chunk_size": chunk_size, "action_dim": action_dim, "execute_horizon": execute_horizon}
            given |= {"control_dt_s": control_dt_s, "action_kinds": action_kinds}
            self._facts = known_facts(self._connection.metadata, given)
            self._spec = self._spec_of_facts()
        except Exception:
            self.close()
            raise

    @property
    def uri(self) -> str:
        """Where the server is."""
        return self._connection.uri

    @property
    def metadata(self) -> dict[str, Any]:
        """What the server said of itself on the newest connection."""
        return dict(self._connection.metadata)

    @property
    def spec(self) -> PolicySpec:
        if self._spec is None:
            missing = " and ".join(name for name in SIZES if name not in self._facts)
            raise InvalidSpec(f"{self.uri} does not say its {missing}: give them to OpenpiPolicy or in an observation map, or ask first")
        return self._spec

    @property
    def latency(self) -> LatencyStatistics:
        """How long the answers took."""
        return self._latency.statistics()

    def is_healthy(self, timeout_s: float = 2.0) -> bool:
        """Returns whether the server answers its health check; asks on a connection of its own."""
        return is_healthy(self.uri, timeout_s)

    def predict_action_chunk(self, observation: Observation) -> ActionChunk:
        """Returns the server's chunk.

        Raises:
            MissingObservation: the observation lacks what the server's metadata asks for.
            InferenceTimeout, ServerUnreachable, ServerFailed: no answer in time, nobody there, an error of the server's.
            ProtocolError: an answer that is no openpi answer.
            InvalidChunk: actions of another shape than the spec's, or not finite.
        """
        start = time.monotonic()
        if self._spec is not None:
            self._spec.check_observation(observation)
        if not self._lock.acquire(timeout=self._inference_timeout_s):
            raise InferenceTimeout(f"{self.uri}: another thread waits for its chunk since {self._inference_timeout_s} s")
        try:
            message = self._encoder.encode(dict(observation))
            answer = self._connection.ask(message, start + self._inference_timeout_s)
            chunk = self._checked_chunk(answer)
            self._latency.record(time.monotonic() - start, _server_time_s(answer))
            return chunk
        finally:
            self._lock.release()

    def close(self) -> None:
        """Closes the connection; another call would open it again."""
        self._connection.close()

    def __enter__(self) -> OpenpiPolicy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _checked_chunk(self, answer: dict[str, Any]) -> ActionChunk:
        actions = answer.get("actions")
        if not isinstance(actions, np.ndarray) or actions.dtype.kind not in "fiu":
            got = f"an array of {actions.dtype}" if isinstance(actions, np.ndarray) else type(actions).__name__
            raise ProtocolError(f'{self.uri}: the answer must hold numbers under "actions", got {got}; its keys are {sorted(answer)[:10]}')
        expected = [self._facts.get(name) for name in SIZES]
        fits = actions.ndim == 2 and all(want is None or want == got for want, got in zip(expected, actions.shape))
        if not fits:
            named = ", ".join("any" if want is None else str(want) for want in expected)
            raise InvalidChunk(f"{self.uri} must answer with actions of shape ({named}) (chunk_size, action_dim), got {actions.shape}")
        try:
            chunk = ActionChunk(actions)
        except InvalidChunk as error:
            raise InvalidChunk(f"{self.uri} answered with wrong actions: {error}") from error
        if self._spec is None:
            self._facts |= dict(zip(SIZES, actions.shape))
            self._spec = self._spec_of_facts()
        return chunk

    def _spec_of_facts(self) -> PolicySpec | None:
        if any(name not in self._facts for name in SIZES):
            return None
        try:
            return PolicySpec(**self._facts)
        except InvalidSpec as error:
            raise InvalidSpec(f"{self.uri}: what its metadata or OpenpiPolicy's arguments say of the policy is wrong: {error}") from error
        except TypeError as error:
            raise ProtocolError(f"{self.uri}: what its metadata say of the policy has wrong types: {error}") from error


def _server_time_s(answer: dict[str, Any]) -> float | None:
    """Returns how long the server says that it inferred, or None."""
    timing = answer.get("server_timing")
    milliseconds = timing.get("infer_ms") if isinstance(timing, dict) else None
    if not isinstance(milliseconds, (int, float)) or not 0 <= milliseconds < float("inf"):  # NaN is in no range
        return None
    return float(milliseconds) / 1000
