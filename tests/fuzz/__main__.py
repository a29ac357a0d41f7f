"""Try changed files for as long as you like: ``python -m tests.fuzz --minutes 120``.

Prints a row for each target. An input that breaks the property is kept in ``--out``, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from .running import Target, check, inputs
from .targets import TARGETS

_TURN = 2.0  # seconds of a target before the next one has its turn: the more a reader can read, the more it gets
_KEPT = 20  # inputs of a target that are kept at most


def main() -> int:
    """Run and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, help="how long, all targets together")
    parser.add_argument("--inputs", type=int, help="how many of each target, in place of a time")
    parser.add_argument("--target", action="append", choices=[target.name for target in TARGETS], help="default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("outputs/fuzz"), help="folder of inputs that break something")
    arguments = parser.parse_args()
    if (arguments.minutes is None) == (arguments.inputs is None):
        parser.error("give --minutes or --inputs")
    chosen = [target for target in TARGETS if arguments.target is None or target.name in arguments.target]
    until, most = time.monotonic() + 60 * (arguments.minutes or 1e9), arguments.inputs or sys.maxsize
    counts = {target.name: Counter[str]() for target in chosen}
    seconds = Counter[str]()
    chances = {target.name: random.Random(f"{arguments.seed} {target.name}") for target in chosen}
    streams = {target.name: inputs(target, chances[target.name]) for target in chosen}
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        while time.monotonic() < until and (waiting := [t for t in chosen if counts[t.name].total() < most]):
            for target in waiting:
                began, count = time.monotonic(), counts[target.name]
                while count.total() < most and time.monotonic() < min(began + _TURN, until):
                    _try(target, next(streams[target.name]), Path(folder), count, arguments.out)
                seconds[target.name] += time.monotonic() - began
    _report(counts, seconds)
    return 1 if any(count["BROKEN"] for count in counts.values()) else 0


def _try(target: Target, content: bytes, folder: Path, count: Counter[str], out: Path) -> None:
    number = sum(count.values())
    try:
        count[check(target, content, folder / f"{number}{target.suffix}")] += 1
    except KeyboardInterrupt:
        raise
    except BaseException as err:
        count["BROKEN"] += 1
        count.update({f"  {type(err).__name__}: {str(err)[:100]!r}": 0})
        if count["BROKEN"] <= _KEPT:
            out.mkdir(parents=True, exist_ok=True)
            (out / f"{target.name.replace(' ', '-')}-{number}{target.suffix}").write_bytes(content)
            print(f"{target.name}: {type(err).__name__}: {str(err)[:300]}", file=sys.stderr, flush=True)


def _report(counts: dict[str, Counter[str]], seconds: Counter[str]) -> None:
    print(f"{'target':14} {'inputs':>9} {'read':>9} {'refused':>9} {'broken':>7} {'seconds':>8}")
    for name, count in counts.items():
        total, read, broken = sum(count.values()), count["read"], count["BROKEN"]
        print(f"{name:14} {total:9} {read:9} {total - read - broken:9} {broken:7} {seconds[name]:8.1f}")
    print(f"{'all':14} {sum(sum(count.values()) for count in counts.values()):9}")


if __name__ == "__main__":
    sys.exit(main())
