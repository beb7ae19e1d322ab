"""From a row of an observation to features: what the hidden layers read.

Every part of an observation is read by what fits it: numbers as they are, categories one-hot, small images as numbers,
large ones by a convolutional network. Parameters have a leading axis of trunks, as those of the hidden layers do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from ppo_cli.config import NetworkConfig
from ppo_cli.devices import Constant
from ppo_cli.errors import ConfigError, Problem
from ppo_cli.networks.user_module import UserModule
from ppo_cli.spec import LEAST_IMAGE, ObsPart, Shapes, Spec


class Encoder(Protocol):
    """What reads one part, or all, of an observation."""

    shapes: Shapes
    """Its parameters' shapes by name, each with a leading axis of trunks."""
    width: int
    """Numbers among its features."""
    work: int
    """Multiplications a row in its largest layer."""

    def __call__(self, parameters: Sequence[Tensor], rows: Tensor, /) -> Tensor:
        """Features (trunks, batch, width) of rows (batch, columns); one trunk may stand for all."""


class Numbers:
    """Numbers as they are; of images, scaled."""

    work = 0

    def __init__(self, part: ObsPart) -> None:
        self.shapes: Shapes = {}
        self.width, self._scale = part.size, part.scale

    @property
    def unchanged(self) -> bool:
        """Whether the features are the columns of 32-bit numbers themselves."""
        return self._scale == 1.0

    def __call__(self, _: Sequence[Tensor], rows: Tensor) -> Tensor:
        """The columns themselves."""
        numbers = rows if rows.is_floating_point() else rows.float()
        features = numbers if self._scale == 1.0 else numbers * self._scale
        return features.unsqueeze(0)


class OneHot:
    """Each category as a vector with a single 1."""

    work = 0

    def __init__(self, part: ObsPart) -> None:
        self.shapes: Shapes = {}
        self.width = sum(part.counts)
        self._starts = Constant(torch.tensor([sum(part.counts[:entry]) for entry in range(len(part.counts))]))

    def __call__(self, _: Sequence[Tensor], rows: Tensor) -> Tensor:
        """One-hot rows, entry beside entry."""
        places = rows.long() + self._starts.on(rows.device)
        return torch.zeros(len(rows), self.width, device=rows.device).scatter(1, places, 1.0).unsqueeze(0)


class _Pictures:
    """What both convolutional networks share: pictures out of rows, and one pass per trunk."""

    shapes: Shapes
    width: int
    work = 0

    def __init__(self, part: ObsPart) -> None:
        self._scale, self._last = part.scale, part.channels_last
        shape = (1,) * (4 - len(part.shape)) + part.shape  # pictures stacked, then height, width and channels
        self._shape = shape
        channels, self.height, self.width_in = (shape[3], *shape[1:3]) if self._last else shape[1:]
        self.channels = shape[0] * channels

    def __call__(self, parameters: Sequence[Tensor], rows: Tensor) -> Tensor:
        """Features of every trunk."""
        pictures = rows.reshape(-1, *self._shape)
        pictures = pictures.permute(0, 1, 4, 2, 3) if self._last else pictures
        pictures = pictures.flatten(1, 2).float() * self._scale
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        return torch.stack(
            [self._read([part[trunk] for part in parameters], pictures) for trunk in range(len(parameters[0]))]
        )

    def _read(self, parameters: Sequence[Tensor], pictures: Tensor) -> Tensor:
        raise NotImplementedError


class NatureCNN(_Pictures):
    """Three convolutions (Mnih et al. 2015, Nature 518, methods); its dense layer is the first hidden one."""

    LAYERS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))  # channels, kernel, stride

    def __init__(self, part: ObsPart, trunks: int) -> None:
        super().__init__(part)
        self.shapes = {}
        channels, height, width = self.channels, self.height, self.width_in
        for index, (out, kernel, stride) in enumerate(self.LAYERS):
            self.shapes[f"conv{index}.weight"] = (trunks, out, channels, kernel, kernel)
            self.shapes[f"conv{index}.bias"] = (trunks, out)
            inputs = channels * kernel * kernel
            channels, height, width = out, (height - kernel) // stride + 1, (width - kernel) // stride + 1
            self.work = max(self.work, inputs * channels * height * width)
        self.width = channels * height * width

    def _read(self, parameters: Sequence[Tensor], pictures: Tensor) -> Tensor:
        for index, (_, _, stride) in enumerate(self.LAYERS):
            weight, bias = parameters[2 * index : 2 * index + 2]
            pictures = functional.conv2d(pictures, weight, bias, stride).relu()
        return pictures.flatten(1)


class Impala(_Pictures):
    """Three stages of a convolution, a pooling and two residual blocks (Espeholt et al. 2018, figure 3)."""

    STAGES = (16, 32, 32)

    def __init__(self, part: ObsPart, trunks: int) -> None:
        super().__init__(part)
        self.shapes = {}
        channels, height, width = self.channels, self.height, self.width_in
        for stage, out in enumerate(self.STAGES):
            for layer, inner in enumerate((channels, out, out, out, out)):
                self.shapes[f"stage{stage}.conv{layer}.weight"] = (trunks, out, inner, 3, 3)
                self.shapes[f"stage{stage}.conv{layer}.bias"] = (trunks, out)
            self.work = max(self.work, 9 * max(channels, out // 4) * out * height * width)
            channels, height, width = out, (height + 1) // 2, (width + 1) // 2
        self.width = channels * height * width

    def _read(self, parameters: Sequence[Tensor], pictures: Tensor) -> Tensor:
        layers = iter([(parameters[index], parameters[index + 1]) for index in range(0, len(parameters), 2)])

        def convolved(inputs: Tensor) -> Tensor:
            weight, bias = next(layers)
            return functional.conv2d(inputs, weight, bias, padding=1)

        for _ in self.STAGES:
            pictures = functional.max_pool2d(convolved(pictures), 3, 2, 1)
            for _ in range(2):
                pictures = pictures + convolved(convolved(pictures.relu()).relu())
        return pictures.relu().flatten(1)


class AllParts:
    """Every part's features side by side.

    Args:
        spec: The parts.
        config: What reads images.
        trunks: How many trunks have parameters of their own.
    """

    def __init__(self, spec: Spec, config: NetworkConfig, trunks: int) -> None:
        self._readers: list[tuple[slice, Encoder]] = []
        self.shapes: Shapes = {}
        for part, columns in spec.obs_columns():
            if part.kind == "mask" and len(spec.observations) > 1:
                continue
            reader = _reader(part, config, trunks)
            self._readers.append((columns, reader))
            prefix = f"{part.name}." if part.name else ""
            self.shapes |= {prefix + name: shape for name, shape in reader.shapes.items()}
        self.width = sum(reader.width for _, reader in self._readers)
        self.work = max(reader.work for _, reader in self._readers)

    def __call__(self, parameters: Sequence[Tensor], rows: Tensor) -> Tensor:
        """Features (trunks, batch, width)."""
        features, start = [], 0
        for columns, reader in self._readers:
            own = parameters[start : start + len(reader.shapes)]
            start += len(reader.shapes)
            features.append(reader(own, rows[:, columns]).float())
        if len(features) == 1:
            return features[0]
        trunks = max(len(one) for one in features)
        return torch.cat([one.expand(trunks, -1, -1) for one in features], -1)


def make_encoder(spec: Spec, config: NetworkConfig, trunks: int) -> Encoder:
    """What reads a whole observation.

    Raises:
        ConfigError: if the network asked for reads pictures, and there are none.
    """
    if config.module is not None:
        return UserModule(spec, config.module, trunks)
    if config.encoder in ("cnn", "impala") and all(part.kind != "image" for part in spec.observations):
        what = f"network.encoder={config.encoder} reads pictures, and these observations have none"
        raise ConfigError(Problem(what, "network.encoder=auto"))
    if len(spec.observations) == 1 and config.recurrent is None:  # nothing else stands in the row
        return _reader(spec.observations[0], config, trunks)
    return AllParts(spec, config, trunks)


def _reader(part: ObsPart, config: NetworkConfig, trunks: int) -> Encoder:
    if part.kind == "categories":
        return OneHot(part)
    wanted = config.encoder
    if part.kind in ("numbers", "mask") or wanted == "mlp":  # a mask is read where there is nothing else to see
        return Numbers(part)
    side = part.least_side
    if wanted == "auto":
        return NatureCNN(part, trunks) if side >= LEAST_IMAGE else Numbers(part)
    if wanted == "cnn" and side < LEAST_IMAGE:
        what = f"network.encoder=cnn needs images of {LEAST_IMAGE} pixels a side, and here they are {side}"
        raise ConfigError(Problem(what, "network.encoder=impala"))
    return NatureCNN(part, trunks) if wanted == "cnn" else Impala(part, trunks)
