"""The messages of the openpi websocket protocol: msgpack, with numpy arrays as maps of plain bytes.

An array is {b"__ndarray__": True, b"data": bytes, b"dtype": "<f4", b"shape": [...]}, a numpy scalar {b"__npgeneric__": True, b"data":
number, b"dtype": ...}. The bytes are those of the official openpi-client. What a message may hold is narrower: numbers, truth values and
text, never objects, and nothing is ever unpickled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import msgpack
import numpy as np

from policytrim_gym.errors import InvalidConfig, ProtocolError
from policytrim_gym.policies.msgpack_structure import check_structure

DTYPE = re.compile(r"[<>|=]?([biufSU])[0-9]{1,9}")
"""Truth values, integers, floats, bytes, text; a pattern, because `numpy.dtype` also takes objects, structures and sub-arrays."""
ARRAY_KINDS = "biufSU"
MOST_DIMENSIONS = 32


@dataclass(frozen=True)
class MessageLimits:
    """How large a message may be; checked before anything is allocated for it.

    Args:
        max_bytes: of a whole message.
        max_depth: containers inside each other.
        max_values: values in all containers together; an array is a handful of them, whatever its size.
        max_elements: numbers in one array; an axis of length 0 counts as 1, so that no axis is longer either.

    Raises:
        InvalidConfig: a limit below 1.

    >>> decode(encode([[[1]]]), MessageLimits(max_depth=2))
    Traceback (most recent call last):
    ...
    policytrim_gym.errors.ProtocolError: the message holds more than 2 containers inside each other
    """

    max_bytes: int = 64 * 2**20
    max_depth: int = 16
    max_values: int = 2**16
    max_elements: int = 2**26

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise InvalidConfig(f"{field.name} must be at least 1, got {getattr(self, field.name)}")


DEFAULT_LIMITS = MessageLimits()


class MessageEncoder:
    """Writes many messages with one buffer, which grows to the largest; for one thread at a time.

    A fresh buffer for each message with images costs more than all else: twice the round trip on loopback.

    >>> MessageEncoder().encode([1, 2]).hex()
    '920102'
    """

    def __init__(self) -> None:
        self._packer = msgpack.Packer(default=_plain)

    def encode(self, message: Any) -> bytes:
        """Returns a message as bytes; takes and raises what the function `encode` does."""
        try:
            packed: bytes = self._packer.pack(message)
        except ProtocolError:
            raise
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ProtocolError(f"a message must hold maps, lists, text, numbers and numpy arrays only: {error}") from error
        return packed


def encode(message: Any) -> bytes:
    """Returns a message as bytes.

    Args:
        message: maps, lists, text, bytes, numbers, None, and numpy arrays and scalars of those.

    Raises:
        ProtocolError: a value that the protocol cannot carry, such as an array of objects or a tensor.

    >>> encode({"horizon": 8}).hex()
    '81a7686f72697a6f6e08'
    """
    return MessageEncoder().encode(message)


def decode(data: bytes, limits: MessageLimits = DEFAULT_LIMITS) -> Any:
    """Returns the message that bytes hold; its arrays are read-only views of them.

    Raises:
        ProtocolError: bytes that are no whole message, hold what the protocol does not know, or break a limit.

    >>> decode(encode({"actions": np.ones((2, 1), np.float32)}))
    {'actions': array([[1.],
           [1.]], dtype=float32)}
    """
    if len(data) > limits.max_bytes:
        raise ProtocolError(f"a message must have at most {limits.max_bytes} bytes, got {len(data)}")
    check_structure(data, limits.max_depth, limits.max_values)
    try:
        return msgpack.unpackb(data, object_hook=lambda value: _array(value, limits))
    except ProtocolError:
        raise
    except (msgpack.UnpackException, ValueError, TypeError, OverflowError) as error:
        raise ProtocolError(f"the message is not valid msgpack: {error}") from error


def decode_map(data: bytes | str, limits: MessageLimits = DEFAULT_LIMITS) -> dict[str, Any]:
    """Returns a message that must be a map with text as keys, as observations, answers and metadata are.

    Raises:
        ProtocolError: as `decode`; a text frame; another value than such a map.

    >>> decode_map(encode([1, 2]))
    Traceback (most recent call last):
    ...
    policytrim_gym.errors.ProtocolError: a message must be a map with text keys, got list
    """
    if isinstance(data, str):
        raise ProtocolError(f"a message must be a binary frame with msgpack, got a text frame: {data[:100]!r}")
    message = decode(data, limits)
    if not isinstance(message, dict):
        raise ProtocolError(f"a message must be a map with text keys, got {type(message).__name__}")
    wrong = next((key for key in message if not isinstance(key, str)), None)
    if wrong is not None:
        raise ProtocolError(f"a message must be a map with text keys, got the key {wrong!r}")
    return message


def _plain(value: Any) -> Any:
    """Returns what stands for a value that msgpack does not know; called by the packer."""
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind not in ARRAY_KINDS:
        raise ProtocolError(f"arrays must hold numbers, truth values or text, got dtype {value.dtype}")
    if isinstance(value, np.ndarray):
        data = value.data if value.flags.c_contiguous and value.size else value.tobytes()  # the view saves a copy of every image
        return {b"__ndarray__": True, b"data": data, b"dtype": value.dtype.str, b"shape": value.shape}
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    if isinstance(value, Mapping):
        return dict(value)
    raise ProtocolError(f"a message must hold maps, lists, text, numbers and numpy arrays only, got {type(value).__name__}")


def _array(value: dict[Any, Any], limits: MessageLimits) -> Any:
    """Returns the array or scalar that a map stands for, or the map; called by the unpacker, innermost maps first."""
    if b"__ndarray__" in value:
        data, dtype, shape = value.get(b"data"), _dtype(value), value.get(b"shape")
        if not isinstance(data, bytes):
            raise ProtocolError(f"an array's data must be bytes, got {type(data).__name__}")
        return np.ndarray(_checked_shape(shape, dtype, len(data), limits), dtype, data)
    if b"__npgeneric__" in value:
        data, dtype = value.get(b"data"), _dtype(value)
        if not isinstance(data, (bool, int, float)) or dtype.kind not in "biuf":
            raise ProtocolError(f"a numpy scalar must be a number or truth value, got {type(data).__name__} as {dtype.str}")
        with np.errstate(over="ignore"):  # infinity; who needs finite numbers checks them
            return dtype.type(data)
    return value


def _dtype(value: dict[Any, Any]) -> np.dtype[Any]:
    text = value.get(b"dtype")
    if not isinstance(text, str) or DTYPE.fullmatch(text) is None:
        raise ProtocolError(f"an array must hold numbers, truth values or text, such as '<f4' or '|u1', got dtype {text!r:.100}")
    dtype = np.dtype(text)
    if dtype.itemsize == 0:
        raise ProtocolError(f"an array's dtype must have a size, got {text!r}")
    return dtype


def _checked_shape(shape: Any, dtype: np.dtype[Any], num_bytes: int, limits: MessageLimits) -> tuple[int, ...]:
    """Returns the shape, after it was held against the bytes that are there."""
    if not isinstance(shape, list) or len(shape) > MOST_DIMENSIONS or any(type(length) is not int or length < 0 for length in shape):
        raise ProtocolError(f"an array's shape must be a list of at most {MOST_DIMENSIONS} lengths, got {shape!r:.100}")
    elements, bound = 1, 1
    for length in shape:  # Python integers: no product overflows
        elements, bound = elements * length, bound * max(length, 1)
        if bound > limits.max_elements:
            raise ProtocolError(f"an array must have at most {limits.max_elements} elements, got shape {shape!r:.100}")
    if elements * dtype.itemsize != num_bytes:
        raise ProtocolError(
            f"an array of shape {tuple(shape)} and dtype {dtype.str} has {elements * dtype.itemsize} bytes, got {num_bytes}"
        )
    return tuple(shape)
