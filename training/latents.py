"""The training set: scenes with the latents of their pictures, rendered and encoded once a size and kept in `runs/`."""

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from tqdm import trange

from training.run import DEMO, RUNS, as_pixels
from training.scenes import Scene, recolored, render, sample_scene

COUNTS = {256: 16000, 512: 16000, 1024: 3000}
EDITED = {256: 4000, 512: 4000, 1024: 800}
_SCENES, _BEFORE = 256, 257  # streams of random numbers
_PIXELS_A_BATCH = 16 * 256 * 256


@dataclass(frozen=True)
class Latents:
    """Scenes of one size."""

    side_px: int
    scenes: list[Scene]
    latents: Tensor
    """(n, 4, side / 32, side / 32) float16, scaled to deviation 1."""
    before: Tensor
    """Those of the first scenes with other colours, as they were before an edit: fewer, else like `latents`."""


def load_vae(device: str) -> AutoencoderKL:
    """The trained autoencoder in float32, frozen."""
    vae = AutoencoderKL.from_pretrained(DEMO / "model" / "vae").to(device, memory_format=torch.channels_last)
    vae.register_to_config(_name_or_path="")  # or the folder's place on this machine would be saved with it
    return vae.requires_grad_(False).eval()


def save_vae(vae: AutoencoderKL) -> None:
    """Replaces the repository's autoencoder, in half precision."""
    vae.to("cpu", torch.float16).save_pretrained(DEMO / "model" / "vae")


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures: np.ndarray) -> Tensor:
    """(n, h, w, 3) uint8 → scaled latents (n, 4, h / factor, w / factor) float32: the mean, without noise."""
    pixels = as_pixels(torch.from_numpy(pictures).to(vae.device))
    with torch.autocast(vae.device.type, torch.bfloat16):
        mean = vae.encode(pixels).latent_dist.mean
    result: Tensor = mean.float() * vae.config.scaling_factor
    return result


def load_latents(side_px: int, seed: int, device: str) -> Latents:
    """The set of one size, from `runs/` where it was made before. All sizes begin with the same scenes."""
    generator = np.random.default_rng((seed, _SCENES))
    scenes = [sample_scene(generator) for _ in range(COUNTS[side_px])]
    generator = np.random.default_rng((seed, _BEFORE))
    before = [recolored(scene, generator) for scene in scenes[: EDITED[side_px]]]
    return Latents(
        side_px,
        scenes,
        _encoded(scenes, side_px, f"latents_{side_px}_{seed}_{len(scenes)}", device),
        _encoded(before, side_px, f"before_{side_px}_{seed}_{len(before)}", device),
    )


def _encoded(scenes: list[Scene], side_px: int, name: str, device: str) -> Tensor:
    path = RUNS / f"{name}.pt"
    if not path.exists():
        vae = load_vae(device)
        size = max(1, _PIXELS_A_BATCH // side_px**2)
        parts = []
        for start in trange(0, len(scenes), size, desc=name, mininterval=10):
            pictures = np.stack([render(scene, side_px) for scene in scenes[start : start + size]])
            parts.append(encode(vae, pictures).half().cpu())
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(torch.cat(parts), path)
    latents: Tensor = torch.load(path, weights_only=True)
    return latents
