"""What all tests share."""

from __future__ import annotations

import sys
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


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Train:
    """``ppo-train`` in this process, which has imported torch already."""
    from ppo_cli.cli.train import main
    from ppo_cli.runs.folder import STAMP_VARIABLE

    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv(STAMP_VARIABLE, "")
    monkeypatch.chdir(tmp_path)

    def started(*words: str) -> Answer:
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # which a command leaves at 1
        return run_here(monkeypatch, capsys, main, "ppo-train", *words)

    return started
