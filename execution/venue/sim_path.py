"""Seeded random walks that can be read at any step.

A walk is Brownian motion built from the outside in: independent anchors every 2^16 points, and
between them midpoints displaced by hashed noise, down to the single point. So a point costs a few
hashes wherever it is, neighbours share them, and over long times the walk stays near zero. Within a
cell the displacements are scaled by a regime, and some stretches hold a jump.
"""

from __future__ import annotations

import hashlib
import math
from typing import Final

# Levels are powers of two of points: blocks between anchors, jumps, regimes, and what one read makes.
BLOCK_LEVEL: Final = 16
JUMP_LEVEL: Final = 12
REGIME_LEVEL: Final = 10
SPAN_LEVEL: Final = 6
SPAN: Final = 1 << SPAN_LEVEL

# (share of cells, scale of the two widest displacements, scale of the finer ones): calm, trending,
# volatile. The mean squares are near 1, so that the walk keeps its variance.
REGIMES: Final = ((0.5, 0.6, 0.7), (0.8, 1.5, 0.8), (1.0, 1.1, 1.7))
WIDE_LEVELS: Final = (REGIME_LEVEL, REGIME_LEVEL - 1)

JUMP_CHANCE: Final = 0.3
JUMP_SIZE: Final = (20.0, 45.0)  # standard deviations of one point's move

_MASK: Final = (1 << 64) - 1
_ANCHOR, _MIDPOINT, _REGIME, _JUMP, _PLAIN = range(5)


def key_of(*names: object) -> int:
    """Return the 64-bit key of a stream of noise, the same in every process."""
    text = "\x1f".join(str(name) for name in names)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def _hash(key: int, kind: int, level: int, index: int) -> int:
    """Mix a place in a stream into 64 bits (the finalizer of splitmix64)."""
    z = (key + (index << 10 | level << 4 | kind) * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def uniform(key: int, index: int, level: int = 0, kind: int = _PLAIN) -> float:
    """Return a number of 0..1 that belongs to `index`."""
    return (_hash(key, kind, level, index) >> 11) / (1 << 53)


def normal(key: int, kind: int, level: int, index: int) -> float:
    """Return a number of mean 0 and variance 1 within ±3.5: the sum of four uniform parts."""
    z = _hash(key, kind, level, index)
    parts = (z & 0xFFFF) + (z >> 16 & 0xFFFF) + (z >> 32 & 0xFFFF) + (z >> 48)
    return (parts / 65536 - 2 + 2 / 65536) * 1.7320508075688772


class Walk:
    """One walk of unit variance per point."""

    def __init__(self, key: int) -> None:
        self._key = key

    def span(self, index: int) -> list[float]:
        """Return points `index` * SPAN to (`index` + 1) * SPAN, both included."""
        cell = index >> (REGIME_LEVEL - SPAN_LEVEL)
        _, _, fine = self._regime(cell)
        points = [0.0] * (SPAN + 1)
        points[0], points[SPAN] = self._ends(index)
        for level in range(SPAN_LEVEL, 0, -1):
            length, half = 1 << level, 1 << level >> 1
            size = _displacement(level) * fine
            first = index << (SPAN_LEVEL - level)
            for start in range(0, SPAN, length):
                noise = normal(self._key, _MIDPOINT, level, first + start // length)
                middle = (points[start] + points[start + length]) / 2
                points[start + half] = middle + size * noise
        return self._with_jump(points, index)

    def _ends(self, index: int) -> tuple[float, float]:
        """Descend from the anchors of the block to both ends of a span."""
        key = self._key
        block = index >> (BLOCK_LEVEL - SPAN_LEVEL)
        # Anchors vary by half of what a block's walk would: the variance is the same everywhere.
        reach = math.sqrt((1 << BLOCK_LEVEL) / 2)
        low = normal(key, _ANCHOR, 0, block) * reach
        high = normal(key, _ANCHOR, 0, block + 1) * reach
        _, wide, fine = self._regime(index >> (REGIME_LEVEL - SPAN_LEVEL))
        for level in range(BLOCK_LEVEL, SPAN_LEVEL, -1):
            scale = 1.0 if level > REGIME_LEVEL else wide if level in WIDE_LEVELS else fine
            node = index >> (level - SPAN_LEVEL)
            noise = normal(key, _MIDPOINT, level, node)
            middle = (low + high) / 2 + _displacement(level) * scale * noise
            if index >> (level - 1 - SPAN_LEVEL) & 1:
                low = middle
            else:
                high = middle
        return low, high

    def _regime(self, cell: int) -> tuple[float, float, float]:
        drawn = uniform(self._key, cell, kind=_REGIME)
        return next(regime for regime in REGIMES if drawn < regime[0])

    def _with_jump(self, points: list[float], index: int) -> list[float]:
        """Add the stretch's jump, if it has one; a slow drift back makes its ends meet."""
        stretch = index >> (JUMP_LEVEL - SPAN_LEVEL)
        if uniform(self._key, stretch, kind=_JUMP) >= JUMP_CHANCE:
            return points
        length = 1 << JUMP_LEVEL
        at = int(uniform(self._key, stretch, 1, _JUMP) * (length - 1)) + 1
        least, most = JUMP_SIZE
        drawn = 2 * uniform(self._key, stretch, 2, _JUMP) - 1
        size = math.copysign(least + (most - least) * abs(drawn), drawn)
        first = (index << SPAN_LEVEL) - stretch * length
        return [
            value + size * ((first + place >= at) - (first + place) / length)
            for place, value in enumerate(points)
        ]


def _displacement(level: int) -> float:
    """Return how far the middle of 2^level points strays from the mean of its ends."""
    return math.sqrt(1 << level) / 2
