"""A torch module of the user's in the place of an encoder."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ppo_cli.devices import Constant
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.spec import Shapes, Spec


class UserModule:
    """A torch module of the user's, from observation rows (batch, obs_size) to features (batch, width).

    It is called as ``Class(obs_size)`` and has an attribute ``width``. Each trunk has a copy with its own parameters.
    """

    def __init__(self, spec: Spec, name: str, trunks: int) -> None:
        module_name, colon, class_name = name.partition(":")
        if not (module_name and colon and class_name):
            raise ConfigError(
                Problem(f"network.module={name} is not of the form module:Class", f"network={name}:Class")
            )
        try:
            kind = getattr(importlib.import_module(module_name), class_name)
            with torch.random.fork_rng(devices=[]):  # its first parameters are drawn by init, from a stream of ours
                self._module: torch.nn.Module = kind(spec.obs_size)
            self.width = int(self._module.width)
            # what a trace leaves behind in a module, if that keeps its features, is no number
            self._traced = copy.deepcopy(self._module)
            _try_out(self._module, spec.obs_size, self.width)
        except Exception as error:  # whatever a module of the user's raises, it is this setting that it refuses
            what = f"network.module={name} cannot be built: {type(error).__name__}: {error}"
            fix = "network.module=module:Class, a torch.nn.Module built as Class(obs_size) with an attribute width"
            raise ConfigError(Problem(what, fix)) from error
        self.work = sum(value.numel() for value in self._module.parameters())
        self._kind, self._obs_size, self._trunks = kind, spec.obs_size, trunks
        self._names = [key for key, _ in self._module.named_parameters()]
        self._buffers = {key: Constant(value) for key, value in self._module.named_buffers()}
        self.shapes: Shapes = {key: (trunks, *value.shape) for key, value in self._module.named_parameters()}

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """First parameters as the module draws them itself, from a seed of the stream."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            copies = [dict(self._kind(self._obs_size).named_parameters()) for _ in range(self._trunks)]
        return {key: torch.stack([copy[key].detach() for copy in copies]) for key in self._names}

    def __call__(self, parameters: Sequence[Tensor], rows: Tensor) -> Tensor:
        """Features (trunks, batch, width)."""
        features: list[Any] = []
        module = self._module if type(rows) is Tensor else self._traced
        trunks = len(parameters[0]) if parameters else 1  # without parameters, one stands for all
        buffers = {key: buffer.on(rows.device) for key, buffer in self._buffers.items()}
        for trunk in range(trunks):
            own = buffers | {key: part[trunk] for key, part in zip(self._names, parameters, strict=True)}
            features.append(torch.func.functional_call(module, own, (rows[:, : self._obs_size].float(),)))
        return torch.stack(features)


def _try_out(module: torch.nn.Module, obs_size: int, width: int) -> None:
    """See that a module of the user's is one, and gives the same features for the same rows each time.

    Raises:
        ValueError: says what is wrong with it.
    """
    if not isinstance(module, torch.nn.Module):
        raise ValueError("it is no torch.nn.Module")
    before = [(id(buffer), buffer._version) for buffer in module.buffers()]
    with torch.no_grad():
        first, second = (module(torch.zeros(4, obs_size)) for _ in range(2))
    if tuple(first.shape) != (4, width):
        raise ValueError(f"of 4 rows it makes features of shape {tuple(first.shape)}, and its width is {width}")
    if not torch.equal(first, second):
        raise ValueError("it makes other features of the same rows each time, as dropout does; no such layer fits here")
    if before != [(id(buffer), buffer._version) for buffer in module.buffers()]:
        raise ValueError("it keeps running statistics, as batch normalisation does, which would not be saved")
