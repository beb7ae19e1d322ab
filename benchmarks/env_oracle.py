"""Environments made at random, stepped by the trainer and by hand: what a rollout holds is what they gave.

    python -m benchmarks.env_oracle --sync 2000 --async 50

``tests/oracle.py`` makes the cases, and says what is compared.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, seed, settings

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
import oracle


def main() -> None:
    """Try as many cases as asked for; the first difference ends it with the case that shows it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sync", type=int, default=2000, help="cases in one process")
    parser.add_argument("--async", type=int, default=50, help="cases with a process for each environment")
    parser.add_argument("--seed", type=int, default=0)
    arguments = vars(parser.parse_args())
    for backend in ("sync", "async"):
        began, tried = time.perf_counter(), _try(backend, arguments[backend], arguments["seed"])
        print(f"{backend}: {tried} cases, 0 differences, {time.perf_counter() - began:.0f} s", flush=True)


def _try(backend: str, count: int, root: int) -> int:
    tried = 0

    @seed(root)
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=oracle.cases)
    def attempt(case: dict[str, Any]) -> None:
        nonlocal tried
        tried += 1
        oracle.check(case, backend, Path(tempfile.gettempdir()))

    attempt()
    return tried


if __name__ == "__main__":
    main()
