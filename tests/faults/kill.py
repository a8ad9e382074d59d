"""Kills at random moments: the output is old or new, whole, and the next run succeeds.

    python tests/faults/kill.py --count 100

A command is measured once, then killed (SIGKILL) after a random part of that time, again and again.
After each kill every output is what it was before or what the command makes, whole. Then the same
command runs to its end, or the training is resumed: the result is the same bit for bit, and what
the killed process left is gone.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import time
from pathlib import Path
from typing import Any

import forks
import inject


def kill(
    case: inject.Case, folder: Path, *, count: int, seed: int, until_s: float
) -> dict[str, Any]:
    """Kill the command at random moments; what was found."""
    before = folder / "before" / case.name
    shutil.copytree(case.outputs, before)
    shortest_s = float("inf")
    for _ in range(2):
        inject.restore(before, case.outputs)
        whole = forks.run(case.body)
        assert whole.status == 0, whole.stderr
        shortest_s = min(shortest_s, whole.seconds)
    new, old = forks.contents(case.outputs), forks.contents(before)
    rng, failures, killed, number = random.Random(seed), [], 0, 0
    while killed < count and time.monotonic() < until_s:
        number += 1
        inject.restore(before, case.outputs)
        ended = forks.run(case.body, kill_after_s=rng.uniform(0, 1.05 * shortest_s))
        if ended.status != -9:  # it ended first: the machine is faster now than when measured
            assert ended.status == 0, ended.stderr
            shortest_s = min(shortest_s, ended.seconds)
            continue
        killed += 1
        problem = inject.problem_of(case, ended.status, old, new)
        if problem is None:
            last = forks.run(case.again)
            problem = _ends_as_ever(case, last, new)
        if problem is not None:
            failures.append(f"kill {number} after {ended.seconds:.2f} s: {problem}")
    return {"kills": killed, "failures": failures[:50], "held": killed - len(failures)}


def _ends_as_ever(case: inject.Case, last: forks.Ended, new: dict[str, bytes]) -> str | None:
    if last.status:
        return f"the next run: {last.stderr[-300:]}"
    if left := forks.left_behind(case.outputs):
        return f"left behind: {left}"
    now = forks.contents(case.outputs)
    for name, content in new.items():
        same = now.get(name) == content
        if (case.fixed or Path(name).name in case.exact) and not same:
            return f"not as ever: {name}"
        if not same and (name not in now or not inject.is_whole(case.outputs / name)):
            return f"not whole: {name}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--commands", nargs="+", choices=inject.COMMANDS, default=inject.COMMANDS)
    parser.add_argument("--count", type=int, default=100, help="kills for each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=24 * 60, help="the most for each command")
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    failed = False
    with forks.scratch() as folder:
        os.environ["TMPDIR"] = str(folder / "tmp")
        (folder / "tmp").mkdir()
        for case in inject.prepared(folder, given.commands, long=True):
            found = kill(
                case, folder, count=given.count, seed=given.seed,
                until_s=time.monotonic() + 60 * given.minutes,
            )  # fmt: skip
            forks.add_to_report(given.report, f"kill {case.name}", found)
            failed |= bool(found["failures"])
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
