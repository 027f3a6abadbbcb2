"""Ways to damage bytes."""

from __future__ import annotations

import random

TELLING = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF)


def damage(data: bytes, chance: random.Random, *, most: int = 6) -> bytes:
    """Some of its bytes flipped, changed, cut out, doubled, moved or inserted, or its end cut off."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, most)):
        if not changed:
            break
        at = chance.randrange(len(changed))
        length = min(chance.choice((1, 1, 2, 4, 8, 64)), len(changed) - at)
        kind = chance.randrange(8)
        if kind == 0:
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[at] = chance.choice(TELLING)
        elif kind == 2:
            changed[at] = chance.randrange(256)
        elif kind == 3:
            del changed[at : at + length]
        elif kind == 4:
            changed[at:at] = changed[at : at + length] * chance.choice((1, 1, 2, 50))
        elif kind == 5:
            changed[at:at] = chance.randbytes(length)
        elif kind == 6:
            to = chance.randrange(len(changed) - length + 1)
            changed[to : to + length] = changed[at : at + length]
        elif chance.random() < 0.3:
            del changed[at:]
    return bytes(changed)
