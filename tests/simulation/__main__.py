"""Replay seeds of the simulation: `--seed N` one of them, `--seeds A..B` all from A up to B."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.simulation.mutants import MUTANTS, mutant
from tests.simulation.node import Parts
from tests.simulation.world import Verdict, run


def replay_line(verdict: Verdict, parts: Parts) -> str:
    """Return the one line that says what is wrong and how to see it again."""
    mutant = f" --mutant {parts.name}" if parts.name else ""
    return (
        f"VIOLATION {verdict.violation} | replay: "
        f"python -m tests.simulation --seed {verdict.seed}{mutant}"
    )


def say(line: str) -> None:
    """Write one line now."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Run what the command line names; return 1 where something is violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay one seed and tell its story")
    parser.add_argument("--seeds", metavar="A..B", help="run all seeds from A up to B")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="with this broken variant")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at a violation")
    asked = parser.parse_args()
    parts = mutant(asked.mutant) if asked.mutant else Parts()
    first, _, last = (asked.seeds or f"{asked.seed or 0}..").partition("..")
    seeds = range(int(first), int(last or int(first) + 1))
    logging.disable(logging.CRITICAL)  # the executor speaks of what the story tells
    totals: Counter[str] = Counter()
    began_s = time.monotonic()
    broken = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            verdict = run(seed, parts, Path(folder), told=asked.seed is not None)
            totals.update(verdict.counts)
            for line in verdict.story:
                say(line)
            if verdict.violation is not None:
                say(replay_line(verdict, parts))
                broken += 1
                if not asked.keep_going:
                    break
    taken_s = time.monotonic() - began_s
    told = " ".join(
        f"{name}={n}" for name, n in sorted(totals.items()) if not name.startswith("died ")
    )
    say(f"seeds {seeds.start}..{seeds.stop}: {broken} violations in {taken_s:.1f} s; {told}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
