"""Every pair of kinds — of action, observation, memory, mask and stepping program — trained, saved, loaded, played."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import matrix
import pytest
from matrix import AXES, Case

COVER = matrix.cover(matrix.cases(envpool=True))
without_envpool = pytest.mark.skipif(importlib.util.find_spec("envpool") is None, reason="EnvPool is not installed")


def test_the_cover_has_every_pair_there_is() -> None:
    table = matrix.cases(envpool=True)
    assert set().union(*map(matrix.pairs, COVER)) == set().union(*map(matrix.pairs, table))
    assert len(COVER) < len(table) / 20
    for place, names in enumerate(AXES.values()):
        assert {case[place] for case in COVER} == set(names)


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[without_envpool] * (case.backend == "envpool"), id=str(case)) for case in COVER]
)
def test_two_iterations_of(tmp_path: Path, case: Case) -> None:
    matrix.check(case, tmp_path)
