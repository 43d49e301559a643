"""Damage of every kind, drawn at random: to bytes and to JSON."""

from __future__ import annotations

import json
import struct
from random import Random
from typing import Any

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 33, (1 << 63) - 1, 1 << 63,
            (1 << 64) - 1)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, -(10**30), 0.5, 1e308, float("nan"),
    float("inf"), "", "a", "\0", "\ud800", "𝒳" * 3, "a" * 5000, "../../etc/passwd", "{{ 7 * 7 }}",
    "$choice", "(" * 500, [], {}, [[]], [None], {"": None}, {"$choice": [1]}, ["a"] * 300,
)  # fmt: skip


def mutated(content: bytes, rng: Random, words: tuple[bytes, ...] = ()) -> bytes:
    """The content with one to four changes; ``words`` are pieces that mean something there."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(8):
            case 0 if data:
                data[min(at, len(data) - 1)] ^= 1 << rng.randrange(8)
            case 1:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 2:
                size, code = rng.choice(((4, "<I"), (8, "<Q")))
                number = rng.choice(_NUMBERS) & ((1 << 8 * size) - 1)
                data[at : at + size] = struct.pack(code, number)
            case 3:
                del data[at : at + rng.randrange(1, 64)]
            case 4:
                other = rng.randrange(len(data) + 1)
                data[at:at] = data[other : other + rng.randrange(1, 200)]
            case 5:
                del data[at:]
            case 6 if words:
                data[at : at + rng.choice((0, 4))] = rng.choice(words)
            case _:
                data[at:at] = rng.randbytes(rng.randrange(1, 16))
    return bytes(data)


def mutated_json(data: Any, rng: Random) -> bytes:
    """The text of the data with values, keys or members changed; now and then of no strict JSON."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = json.loads(json.dumps(data))  # copies lie apart
        holders = list(_holders(data))
        if not holders:
            break
        holder = rng.choice(holders)
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = rng.choice(keys)
        match rng.randrange(6):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[rng.choice(("", "version", "nodes", "x" * 300, "nodez", "\0"))] = holder[key]
            case 2:  # a part of the file in the place of another
                other = rng.choice(_members(rng.choice(holders)))
                holder[key] = json.loads(json.dumps(other))
            case 3:
                holder[key] = [holder[key]] * rng.choice((1, 2, 20))
            case 4:
                for _ in range(rng.choice((1, 70, 200))):
                    holder[key] = [holder[key]]
            case _:
                holder[key] = rng.choice(_VALUES)
    return json.dumps(data).encode()


def _holders(data: Any) -> Any:
    stack = [data]
    while stack:
        value = stack.pop()
        if isinstance(value, dict | list) and value:
            yield value
            stack += _members(value)


def _members(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else list(value)
