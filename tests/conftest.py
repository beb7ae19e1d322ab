"""What all tests share."""

from __future__ import annotations

import torch

torch.set_num_threads(1)  # the tests' networks are small, and other work shares the machine
