"""A network for pictures of 42 × 42: a quarter of the pixels of Atari's usual ones, for machines without a GPU.

From this folder: ``ppo-train env=ALE/Pong-v5 'env.wrappers=[{AtariPreprocessing:{screen_size:42}}]'
network=small_pictures:SmallPictures``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

SIDE = 42


class SmallPictures(nn.Module):
    """Two convolutions as in Mnih et al. 2013 (arXiv:1312.5602), with smaller kernels.

    Args:
        obs_size: Numbers in a stack of pictures.
    """

    def __init__(self, obs_size: int) -> None:
        super().__init__()
        first = nn.Conv2d(obs_size // SIDE**2, 16, kernel_size=6, stride=3)
        second = nn.Conv2d(16, 32, kernel_size=4, stride=2)
        for layer in (first, second):
            nn.init.orthogonal_(layer.weight, math.sqrt(2.0))
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.layers = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten())
        self.width = 32 * 5 * 5

    def forward(self, rows: Tensor) -> Tensor:
        """Features (batch, width) of pictures as rows (batch, obs_size)."""
        pictures = rows.view(len(rows), -1, SIDE, SIDE)
        # a ball is a few pixels that hardly differ from the ground; standardised, they stand out
        mean, deviation = pictures.mean((1, 2, 3), keepdim=True), pictures.std((1, 2, 3), keepdim=True)
        standard = (pictures - mean) / (deviation + 1.0)
        features: Tensor = self.layers(standard.contiguous(memory_format=torch.channels_last))
        return features
