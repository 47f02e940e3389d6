"""Trains the pose estimator on rendered figures, and on pictures without a person, where it must find nothing."""

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import trange

from deployments.diffusion.body_estimator import KEYPOINTS, PoseNetwork
from training.run import DEMO, Average, Checkpoint, arguments, as_pixels, rate, set_rate
from training.scenes import render, sample_scene

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


def main() -> None:
    """Trains, or goes on where an earlier run stopped, and writes deployments/demo/pose."""
    options = arguments(__doc__ or "", steps=2000, batch=32).parse_args()
    torch.manual_seed(options.seed)
    device, checkpoint = options.device, Checkpoint("pose")
    model = PoseNetwork().to(device, memory_format=torch.channels_last)
    average = Average(model, 0.995)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=1e-3)
    first = 0
    if not options.restart and (state := checkpoint.load(device)):
        model.load_state_dict(state["model"])
        average.module.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    progress = trange(first, options.steps, initial=first, total=options.steps, desc="pose", mininterval=10)
    for step in progress:
        pictures, maps = batch_of(options.batch, model.config.side_px, np.random.default_rng((options.seed, step)))
        maps = maps.to(device)
        set_rate(optimizer, rate(step, options.steps, 2e-3))
        logits = model(as_pixels(pictures.to(device)))
        loss = F.binary_cross_entropy_with_logits(logits, maps, weight=1 + 20 * maps)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model, step)
        if step % 10 == 0:
            progress.set_postfix(loss=f"{loss.item():.4f}")
        if (step + 1) % 200 == 0 or step + 1 == options.steps:
            state = {"model": model.state_dict(), "average": average.module.state_dict()}
            checkpoint.save(**state, optimizer=optimizer.state_dict(), step=step + 1)
    average.module.to("cpu", torch.float16).save_pretrained(DEMO / "pose")


if __name__ == "__main__":
    main()
