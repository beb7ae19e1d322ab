"""What a rollout holds is what the environment gave, for environments made at random."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import oracle
from hypothesis import given, settings


@given(case=oracle.cases)
@settings(max_examples=120)
def test_a_rollout_holds_what_the_environment_gave(case: dict[str, Any]) -> None:
    oracle.check(case, "sync", Path(tempfile.gettempdir()))


@given(case=oracle.cases)
@settings(max_examples=5)
def test_it_does_so_where_environments_have_processes_of_their_own(case: dict[str, Any]) -> None:
    oracle.check(case, "async", Path(tempfile.gettempdir()))
