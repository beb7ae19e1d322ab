"""What all tests share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from console import Answer, Train, run_here
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)  # the tests' networks are small, and other work shares the machine

# The same examples every time; pytest --hypothesis-profile=thorough tests/test_fuzz.py tries other ones, and thousands.
_COMMON = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
settings.register_profile("suite", _COMMON, max_examples=40, derandomize=True)
settings.register_profile("thorough", _COMMON, max_examples=2_000, print_blob=True)
settings.load_profile("suite")


Prepare = Callable[[], None]


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """Makes this process, in the folder of the test, as fit for a command as a new one."""
    from ppo_cli.runs.folder import STAMP_VARIABLE

    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv(STAMP_VARIABLE, "")
    monkeypatch.chdir(tmp_path)
    return lambda: monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # which a command leaves at 1


@pytest.fixture
def here(prepared: Prepare, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Train:
    """``ppo-train`` in this process, which has imported torch already."""
    from ppo_cli.cli.train import main

    def started(*words: str) -> Answer:
        prepared()
        return run_here(monkeypatch, capsys, main, "ppo-train", *words)

    return started


@pytest.fixture
def evaluate(prepared: Prepare, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Train:
    """The same of ``ppo-eval``."""
    from ppo_cli.cli.eval import main

    def started(*words: str) -> Answer:
        prepared()
        return run_here(monkeypatch, capsys, main, "ppo-eval", *words)

    return started
