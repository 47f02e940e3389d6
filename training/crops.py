"""Pieces of rendered pictures: what the autoencoder learns from."""

import numpy as np
import torch
from torch import Tensor

from training.scenes import render, sample_scene

_POOLS = ((256, 4000, 0.6), (512, 400, 0.26), (1024, 80, 0.14))  # side, pictures, share of the crops
_SPOTS = 3  # of so many places the busiest is taken: flat ground is soon learned


class Crops:
    """Random crops of pictures of several sizes, and whole pictures too, because normalization sees all of one."""

    def __init__(self, seed: int, sides: dict[int, float]) -> None:
        """Paints the pictures; `sides` has the shares of the crops' sides in pixels."""
        self._sides = sides
        generator = np.random.default_rng(seed)
        self._pools = [
            np.stack([render(sample_scene(generator), side) for _ in range(count)]) for side, count, _ in _POOLS
        ]

    def batch(self, count: int, generator: np.random.Generator) -> Tensor:
        """(b, side, side, 3) uint8 with the pixels of `count` of the smallest; one in six has other colours."""
        side = int(generator.choice(list(self._sides), p=list(self._sides.values())))
        crops = []
        for _ in range(max(1, count * min(self._sides) ** 2 // side**2)):
            pool = self._pools[generator.choice(len(_POOLS), p=[share for *_, share in _POOLS])]
            if pool.shape[1] < side:
                pool = self._pools[1]
            picture = pool[generator.integers(len(pool))]
            spots = generator.integers(0, picture.shape[0] - side + 1, (_SPOTS, 2))
            crop = max((picture[y : y + side, x : x + side] for y, x in spots), key=lambda each: each[::8, ::8].std())
            if generator.random() < 1 / 6:
                low, high = np.sort(generator.uniform(0, 255, (2, 3)), axis=0)
                crop = (low + crop[:, :, generator.permutation(3)] * ((high - low) / 255)).astype(np.uint8)
            crops.append(crop)
        return torch.from_numpy(np.stack(crops))
