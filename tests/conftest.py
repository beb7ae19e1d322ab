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


@pytest.fixture
def begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str, Callable[[], None]], Train]:
    """Makes a command of a name and its ``main``: it runs in this process, in the folder of the test."""
    from ppo_cli.runs.folder import STAMP_VARIABLE

    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv(STAMP_VARIABLE, "")
    monkeypatch.chdir(tmp_path)

    def made(name: str, main: Callable[[], None]) -> Train:
        def started(*words: str) -> Answer:
            monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # which a command leaves at 1
            return run_here(monkeypatch, capsys, main, name, *words)

        return started

    return made


@pytest.fixture
def here(begin: Callable[[str, Callable[[], None]], Train]) -> Train:
    """``ppo-train`` in this process, which has imported torch already."""
    from ppo_cli.cli.train import main

    return begin("ppo-train", main)


@pytest.fixture
def evaluate(begin: Callable[[str, Callable[[], None]], Train]) -> Train:
    """The same of ``ppo-eval``."""
    from ppo_cli.cli.eval import main

    return begin("ppo-eval", main)
