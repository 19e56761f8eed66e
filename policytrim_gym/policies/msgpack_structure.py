"""Walks over the headers of a msgpack message before anything is built of it.

A decoder allocates what a header announces: a hundred bytes of headers inside each other can ask for gigabytes. Here every announced
length is held against the bytes that are there, and nothing is allocated but one number for each open container.
"""

from __future__ import annotations

from policytrim_gym.errors import ProtocolError

# By the msgpack specification: bytes that follow a head of fixed size, or of the length that it announces.
FIXED_SIZE = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
BYTES_LENGTH = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
ARRAY_LENGTH = {0xDC: 2, 0xDD: 4}
MAP_LENGTH = {0xDE: 2, 0xDF: 4}


def check_structure(data: bytes, max_depth: int, max_values: int) -> None:
    """Raises ProtocolError unless `data` is exactly one message whose containers hold what they announce.

    Args:
        data: the whole message.
        max_depth: containers inside each other.
        max_values: values in all containers together, keys counted.

    Raises:
        ProtocolError: bytes missing or left over, an unknown or extension type, or a limit broken.

    >>> check_structure(bytes([0x92, 0x01, 0xC0]), max_depth=4, max_values=10)
    >>> check_structure(bytes([0xDD, 0x7F, 0xFF, 0xFF, 0xFF]), max_depth=4, max_values=10)
    Traceback (most recent call last):
    ...
    policytrim_gym.errors.ProtocolError: the message holds more than 10 values
    """
    waiting = [1]  # values still to come in each open container, the message itself outermost
    position, values_left = 0, max_values
    while waiting:
        if waiting[-1] == 0:
            waiting.pop()
            continue
        waiting[-1] -= 1
        if position >= len(data):
            raise ProtocolError(f"the message ends early, after {len(data)} bytes")
        head = data[position]
        count, size, position = _read_head(data, head, position + 1)
        position += size
        if position > len(data):
            raise ProtocolError(f"the message ends early: {position} bytes announced, {len(data)} there")
        if count is None:
            continue
        if count > values_left:
            raise ProtocolError(f"the message holds more than {max_values} values")
        if len(waiting) > max_depth:
            raise ProtocolError(f"the message holds more than {max_depth} containers inside each other")
        values_left -= count
        waiting.append(count)
    if position != len(data):
        raise ProtocolError(f"the message has {len(data) - position} bytes too many behind its end")


def _read_head(data: bytes, head: int, position: int) -> tuple[int | None, int, int]:
    """Returns how many values a container opens (None for a plain value), the bytes to skip, and the position behind the head."""
    if head <= 0x7F or head >= 0xE0:
        return None, 0, position
    if head <= 0x8F:
        return 2 * (head & 0x0F), 0, position
    if head <= 0x9F:
        return head & 0x0F, 0, position
    if head <= 0xBF:
        return None, head & 0x1F, position
    if head in FIXED_SIZE:
        return None, FIXED_SIZE[head], position
    for table in (BYTES_LENGTH, ARRAY_LENGTH, MAP_LENGTH):
        if head in table:
            end = position + table[head]
            length = int.from_bytes(data[position:end], "big")
            if table is BYTES_LENGTH:
                return None, length, end
            return (length if table is ARRAY_LENGTH else 2 * length), 0, end
    raise ProtocolError(f"the message holds a type that the protocol does not know (msgpack head 0x{head:02x})")
