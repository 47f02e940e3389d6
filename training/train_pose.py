"""Trains the pose estimator on rendered figures, and on pictures without a person, where it must find nothing."""

from argparse import Namespace

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deployments.diffusion.body_estimator import KEYPOINTS, PoseNetwork
from training.run import DEMO, arguments, as_pixels, train
from training.scenes import render, sample_scene
from training.workers import on_workers, rank

_NOBODY = 0.3  # of the pictures
_SPREAD = 1.2  # deviation of a keypoint's spot, in cells of the map


def spoiled(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A picture as an autoencoder or a camera may have left it: blurred, noisy, or in other colours."""
    side = picture.shape[0]
    if generator.random() < 0.5:
        small = int(side * generator.uniform(0.35, 1.0))
        picture = cv2.resize(cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA), (side, side))
    shift, gain = generator.normal(0, 12, 3), generator.normal(1, 0.08, 3)
    noise = generator.normal(0, generator.uniform(0, 10), picture.shape)
    return np.clip(picture * gain + shift + noise, 0, 255).astype(np.uint8)


def nothing(side: int, generator: np.random.Generator) -> np.ndarray:
    """A picture without a person: a shape, an otter, noise or a gradient."""
    draw = generator.random()
    if draw < 0.7:
        kind = str(generator.choice(["circle", "square", "triangle", "star", "otter", "otter"]))
        return render(sample_scene(generator, kind), side)
    cells = int(generator.choice([1, 2, 4, 16, side]))
    result: np.ndarray = cv2.resize(generator.integers(0, 256, (cells, cells, 3)).astype(np.uint8), (side, side))
    return result


def heatmaps(poses: np.ndarray, side: int) -> np.ndarray:
    """(b, 18, 2) keypoints in shares of the side → (b, 18, side, side) float32, one soft spot each; NaN is no spot."""
    cells = np.arange(side) + 0.5
    dx = (cells - poses[:, :, :1] * side) ** 2
    dy = (cells - poses[:, :, 1:] * side) ** 2
    spots = np.exp(-(dx[:, :, None, :] + dy[:, :, :, None]) / (2 * _SPREAD**2))
    result: np.ndarray = np.nan_to_num(spots).astype(np.float32)
    return result


def batch_of(count: int, side: int, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Pictures, (count, side, side, 3) uint8, and their heat maps at a quarter of the side."""
    pictures, poses = [], np.full((count, KEYPOINTS, 2), np.nan)
    for row in range(count):
        if generator.random() < _NOBODY:
            picture = nothing(side, generator)
        else:
            scene = sample_scene(generator, "person")
            picture, poses[row] = render(scene, side), scene.keypoints()
        pictures.append(spoiled(picture, generator))
    return torch.from_numpy(np.stack(pictures)), torch.from_numpy(heatmaps(poses, side // 4))


def work(options: Namespace) -> None:
    """What each worker does; the first one writes the result."""
    torch.manual_seed(options.seed)
    model = PoseNetwork().to(options.device, memory_format=torch.channels_last)

    def loss_of(step: int, generator: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        pictures, maps = (part.to(options.device) for part in batch_of(options.batch, model.config.side_px, generator))
        loss = F.binary_cross_entropy_with_logits(model(as_pixels(pictures)), maps, weight=1 + 20 * maps)
        return loss, {"loss": loss.item()}

    best = train("pose", model, loss_of, options, peak=2e-3, decay=0.995)
    if rank() == 0:
        best.to("cpu", torch.float16).save_pretrained(DEMO / "pose")


def main() -> None:
    """Trains, or goes on where an earlier run stopped, and writes deployments/demo/pose."""
    on_workers(work, arguments(__doc__ or "", steps=900, batch=16).parse_args())


if __name__ == "__main__":
    main()
