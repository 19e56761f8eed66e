"""Laws of the openpi messages: the bytes are the official client's, and no message does harm."""

from __future__ import annotations

import tracemalloc

import msgpack
import numpy as np
import pytest
from openpi_client import msgpack_numpy

from policytrim_gym.errors import InvalidConfig, ProtocolError
from policytrim_gym.policies.openpi_codec import MessageEncoder, MessageLimits, decode, decode_map, encode

ARRAYS = [
    np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
    np.linspace(-1, 1, 7, dtype=np.float32),
    np.arange(6, dtype=np.float64).reshape(2, 3).T,
    np.arange(12, dtype=np.int64).reshape(3, 4)[:, ::2],
    np.array([[True, False]]),
    np.array(3.5, np.float16),
    np.zeros((0, 7), np.float32),
    np.array(["pick", "place"]),
    np.array([b"ab", b"c"]),
    np.arange(3, dtype=">i4"),
]
SCALARS = [np.float32(0.1), np.int64(-3), np.uint8(255), np.bool_(True)]
MESSAGE = {
    "observation/image": ARRAYS[0],
    "state": ARRAYS[1],
    "prompt": "open the door",
    "nested": {"list": [1, -2.5, None, True, b"bytes"], "empty": {}, "scalars": SCALARS},
}


def assert_same(got, expected):
    assert type(got) is type(expected)
    if isinstance(expected, dict):
        assert list(got) == list(expected)
        for key in expected:
            assert_same(got[key], expected[key])
    elif isinstance(expected, list):
        assert len(got) == len(expected)
        for pair in zip(got, expected):
            assert_same(*pair)
    else:
        assert getattr(got, "dtype", None) == getattr(expected, "dtype", None)
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("value", [*ARRAYS, *SCALARS, MESSAGE], ids=lambda value: getattr(getattr(value, "dtype", None), "str", "map"))
def test_bytes_are_those_of_the_official_codec_and_read_like_there(value):
    assert encode(value) == msgpack_numpy.packb(value)
    assert_same(decode(msgpack_numpy.packb(value)), msgpack_numpy.unpackb(encode(value)))
    assert_same(decode(encode(value)), value)


def array_with(**changes):
    fields = {b"__ndarray__": True, b"data": bytes(8), b"dtype": "<f4", b"shape": [2]}
    return msgpack.packb({**fields, **{key.encode(): value for key, value in changes.items()}})


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "ends early"),
        (encode(MESSAGE)[:-1], "ends early"),
        (encode({"a": 1}) + b"\x00", "1 bytes too many"),
        (b"\xc1", "does not know"),
        (b"\xd4\x01\x00", "does not know"),  # an extension type
        (b"\xa1\xff", "not valid msgpack"),  # no UTF-8
        (b"\x81\x01\x02", "not valid msgpack"),  # a number as key
        (array_with(dtype="|O"), "dtype '|O'"),
        (array_with(dtype="|V8"), "dtype"),
        (array_with(dtype="f4,f4"), "dtype"),
        (array_with(dtype="<M8[s]"), "dtype"),
        (array_with(dtype="|S0"), "must have a size"),
        (array_with(dtype="<f3"), "not valid msgpack"),
        (array_with(dtype=["<f4"]), "dtype"),
        (array_with(shape=[3]), "has 12 bytes, got 8"),
        (array_with(shape=[-2]), "shape"),
        (array_with(shape=[True, 2]), "shape"),
        (array_with(shape=2), "shape"),
        (array_with(shape=[1] * 33), "shape"),
        (array_with(shape=[2**62, 4]), "elements"),
        (array_with(shape=[2**40, 0], data=b""), "elements"),
        (array_with(data="text"), "data must be bytes"),
        (msgpack.packb({b"__npgeneric__": True, b"data": 300, b"dtype": "|u1"}), "not valid msgpack"),
        (msgpack.packb({b"__npgeneric__": True, b"data": "x", b"dtype": "<f4"}), "must be a number"),
    ],
)
def test_bytes_that_are_no_message_are_refused_by_what_is_wrong(data, reason):
    with pytest.raises(ProtocolError, match=reason.replace("|", r"\|")):
        decode(data)


@pytest.mark.parametrize(
    "bomb",
    [
        b"\xdd\x00\x0f\xff\xff" * 1000 + bytes(2**20),  # 1000 lists inside each other, each announces a million
        b"\x91" * 100_000 + b"\xc0",
        b"\xdd\x00\x10\x00\x00" + b"\x80" * 2**20,  # a million empty maps
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        array_with(shape=[2**31]),
    ],
)
def test_a_bomb_is_refused_before_it_takes_memory(bomb):
    tracemalloc.start()
    with pytest.raises(ProtocolError):
        decode(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000, peak


def test_every_limit_is_kept():
    nested = encode([[1, 2], np.zeros(5)])
    decode(nested, MessageLimits(max_bytes=len(nested), max_depth=3, max_values=20, max_elements=5))
    for broken in ({"max_bytes": len(nested) - 1}, {"max_depth": 1}, {"max_values": 5}, {"max_elements": 4}):
        with pytest.raises(ProtocolError):
            decode(nested, MessageLimits(**broken))
    with pytest.raises(InvalidConfig, match="max_depth must be at least 1, got 0"):
        MessageLimits(max_depth=0)


@pytest.mark.parametrize("value", [object(), np.array([None]), np.array(1j), np.zeros(2, "i4,i4"), 2**70, {1, 2}, np.array("2020", "M8")])
def test_what_the_protocol_cannot_carry_is_not_sent(value):
    with pytest.raises(ProtocolError, match="must hold"):
        encode({"state": value})


def test_a_received_array_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        decode(encode(np.zeros(2)))[0] = 1


@pytest.mark.parametrize("data, reason", [("oops", "text frame: 'oops'"), (encode([1]), "got list"), (encode({b"a": 1}), "key b'a'")])
def test_a_map_with_text_keys_is_asked_for(data, reason):
    with pytest.raises(ProtocolError, match=reason):
        decode_map(data)


def test_a_refused_message_leaves_nothing_in_the_next_one():
    encoder = MessageEncoder()
    with pytest.raises(ProtocolError):
        encoder.encode({"state": np.zeros(1000), "bad": object()})
    assert encoder.encode(MESSAGE) == encode(MESSAGE)
