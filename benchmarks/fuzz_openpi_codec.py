"""Feeds the decoder of openpi messages with random bytes and with damaged messages.

Each input must give a message or a ProtocolError, and nothing else. Inputs are random bytes, valid messages with bytes changed, cut out,
doubled or joined, and trees of headers that announce any length. Memory: the peak that Python and numpy allocated for one input, by
tracemalloc, on every 100th input; and the process's own peak, at the end against that after the first thousand inputs.

    nice -n 19 python benchmarks/fuzz_openpi_codec.py
    python benchmarks/fuzz_openpi_codec.py --inputs 20000 --seed 1
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
import tracemalloc
from collections import Counter

import numpy as np

from policytrim_gym.errors import ProtocolError
from policytrim_gym.policies.openpi_codec import decode, encode

HEADS = bytes([0x80, 0x8F, 0x90, 0x9F, 0xA5, 0xC0, 0xC1, 0xC4, 0xC5, 0xC6, 0xC7, 0xCA, 0xCB, 0xD4, 0xD9, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF])
MOST_BYTES_PER_INPUT_BYTE = 100
FIXED_BYTES = 200_000
MOST_GROWTH_MIB = 64


def valid_messages() -> list[bytes]:
    """Returns messages as clients and servers send them."""
    image = np.arange(12 * 12 * 3, dtype=np.uint8).reshape(12, 12, 3)
    messages: list[object] = [
        {"image": image, "state": np.linspace(-1, 1, 8, dtype=np.float32), "prompt": "open the door"},
        {"actions": np.zeros((10, 7)), "server_timing": {"infer_ms": 12.5}},
        {"chunk_size": 10, "action_dim": 7, "observation_shapes": {"state": [8], "image": [None, None, 3]}},
        {"a": [1, -2, None, True, 1.5, b"bytes", np.float32(1), np.int64(3), np.bool_(True)], "b": {"c": [[], {}, np.array(["x", "yz"])]}},
    ]
    return [encode(message) for message in messages]


def mutate(data: bytes, other: bytes, random: np.random.Generator) -> bytes:
    """Returns a message with one to four damages."""
    damaged = bytearray(data)
    for _ in range(int(random.integers(1, 5))):
        kind, start = int(random.integers(6)), int(random.integers(len(damaged) + 1))
        end = min(len(damaged), start + int(random.integers(1, 17)))
        if kind == 0:
            damaged[start:end] = random.bytes(end - start)
        elif kind == 1:
            del damaged[start:end]
        elif kind == 2:
            damaged[start:start] = damaged[start:end]
        elif kind == 3:
            damaged[start:] = other[min(start, len(other)) :]
        elif kind == 4:
            damaged[start:end] = HEADS[int(random.integers(len(HEADS)))].to_bytes(1, "big")
        else:
            del damaged[start:]
    return bytes(damaged)


def next_input(messages: list[bytes], random: np.random.Generator) -> tuple[str, bytes]:
    """Returns the kind of an input and its bytes."""
    kind = ("random bytes", "damaged message", "damaged message", "headers")[int(random.integers(4))]
    if kind == "random bytes":
        return kind, random.bytes(int(random.integers(0, 200)))
    if kind == "headers":
        parts = [HEADS[index : index + 1] + random.bytes(int(random.integers(0, 5))) for index in random.integers(len(HEADS), size=40)]
        return kind, b"".join(parts)
    first, second = random.integers(len(messages), size=2)
    return kind, mutate(messages[first], messages[second], random)


def peak_mib() -> float:
    """Returns the largest memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    """Decodes, prints, and returns 1 when a law was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    random, messages = np.random.default_rng(arguments.seed), valid_messages()
    outcomes: Counter[tuple[str, str]] = Counter()
    largest_bytes, early_mib, start_s = 0, peak_mib(), time.perf_counter()
    for index in range(arguments.inputs):
        kind, data = next_input(messages, random)
        traced = index % 100 == 0
        if traced:
            tracemalloc.start()
        try:
            decode(data)
            outcomes[kind, "a message"] += 1
        except ProtocolError:
            outcomes[kind, "refused"] += 1
        except BaseException as error:
            print(f"input {index} of seed {arguments.seed} ({kind}) raised {error!r}: {data.hex()}")
            return 1
        if traced:
            used_bytes = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            largest_bytes = max(largest_bytes, used_bytes)
            if used_bytes > FIXED_BYTES + MOST_BYTES_PER_INPUT_BYTE * len(data):
                print(f"input {index} of seed {arguments.seed} ({kind}) of {len(data)} bytes took {used_bytes} bytes: {data.hex()}")
                return 1
        if index == 1000:
            early_mib = peak_mib()
    elapsed_s, growth_mib = time.perf_counter() - start_s, peak_mib() - early_mib
    for (kind, outcome), count in sorted(outcomes.items()):
        print(f"{kind:16} {outcome:10} {count:9,}")
    print(f"{arguments.inputs:,} inputs, {arguments.inputs / elapsed_s:,.0f} a second with making them; no other error than ProtocolError")
    print(f"largest memory for one input {largest_bytes / 1024:.0f} KiB; the process grew by {growth_mib:.1f} MiB")
    return int(growth_mib > MOST_GROWTH_MIB)


if __name__ == "__main__":
    sys.exit(main())
