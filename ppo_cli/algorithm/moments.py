"""Mean and variance of what comes bit by bit."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ppo_cli.devices import with_float64

State = dict[str, Tensor]


def from_zero(state: State) -> State:
    """A state of earlier versions, with a ``mean``, as one of today's; one of today's as it is."""
    if "mean" not in state:
        return state
    rest = {name: tensor for name, tensor in state.items() if name != "mean"}
    return {"origin": torch.zeros_like(state["mean"]), "offset": state["mean"], **rest}


class RunningMoments:
    """Mean and variance of the rows seen, merged batch by batch (Chan, Golub & LeVeque 1983, equations 2.1).

    Sums are of 64-bit differences from the first row of all, so that a small signal on a large offset is not lost.

    Args:
        shape: Of one row.
        device: Where rows come from; the sums are there too, if it has 64-bit numbers.
        rate: Weight of a new row in a moving average whose beginning counts as if nothing had been before (van Hasselt
            et al. 2016, arXiv:1602.07714, section 2.2); 0 weighs all rows alike.
    """

    def __init__(self, shape: tuple[int, ...], device: torch.device, rate: float = 0.0) -> None:
        self._rate = rate
        device = with_float64(device)
        self.count = torch.zeros((), dtype=torch.float64, device=device)
        self.origin = torch.zeros(shape, dtype=torch.float64, device=device)
        self.offset = torch.zeros_like(self.origin)
        self.var = torch.ones_like(self.origin)

    @property
    def mean(self) -> Tensor:
        """Mean, of the given shape."""
        return self.origin + self.offset

    def update(self, rows: Tensor) -> None:
        """Merge ``rows`` of shape (rows, *shape)."""
        if len(rows) == 0:
            return
        rows = rows.to(self.var.device, torch.float64)
        if self.count == 0:
            self.origin = rows[0].clone()
        rows = rows - self.origin
        forgotten = -math.expm1(len(rows) * math.log1p(-self._rate))
        before, now = self.count * (1.0 - forgotten), forgotten / self._rate if self._rate else float(len(rows))
        count = before + now
        mean, var = rows.mean(0), rows.var(0, correction=0)
        delta = mean - self.offset
        self.offset = self.offset + delta * (now / count)
        self.var = (self.var * before + var * now + delta.square() * before * now / count) / count
        self.count = count

    def state_dict(self) -> State:
        """What a checkpoint keeps."""
        return {"count": self.count, "origin": self.origin, "offset": self.offset, "var": self.var}

    def load_state_dict(self, state: State) -> None:
        """Take :meth:`state_dict`'s tensors over, or those of earlier versions, which counted from 0."""
        state = from_zero(state)
        self.count, self.origin, self.offset, self.var = (
            state[name].to(self.var.device) for name in ("count", "origin", "offset", "var")
        )
        if self._rate:  # one that never forgot may have counted more
            self.count = self.count.clamp(max=1.0 / self._rate)
