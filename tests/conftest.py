"""What all tests share."""

from __future__ import annotations

import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)  # the tests' networks are small, and other work shares the machine

# The same examples every time; pytest --hypothesis-profile=thorough tests/test_fuzz.py tries other ones, and thousands.
_COMMON = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
settings.register_profile("suite", _COMMON, max_examples=40, derandomize=True)
settings.register_profile("thorough", _COMMON, max_examples=2_000, print_blob=True)
settings.load_profile("suite")
