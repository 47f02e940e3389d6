"""Batches for the denoiser and the ControlNet: noisy latents with captions, some of them people with skeletons."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.captions import caption
from training.latents import Latents, load_latents
from training.models import build_scheduler
from training.skeletons import draw_skeleton

SIDES = (256, 512, 1024)
_SMALL_ONLY = 0.35  # of the steps see 256 pixels only: what things look like is learned where it is cheapest
_STEPS = {256: 0.68, 512: 0.2, 1024: 0.12}  # shares of the other steps
_ROWS = {256: 1.0, 512: 1 / 3, 1024: 1 / 6}  # of the batch
_MIDDLE = {256: 450.0, 512: 540.0, 1024: 620.0}  # the timestep where a size's outlines are decided
_SPREAD, _EVEN = 160.0, 0.35  # deviation around the middle; share of timesteps that are drawn evenly
_DROPPED = 0.12  # of the captions, half as no prompt and half as an empty one
_JITTER = 0.004  # of the side: an estimator's keypoints are never exact


@dataclass(frozen=True)
class Batch:
    """Rows for one step. Each caption has two neighbouring rows with different noise."""

    side_px: int
    captions: list[str | None]
    """(b / 2) captions; None is no prompt at all."""
    noisy: Tensor
    """(b, 4, h, w) float32."""
    velocity: Tensor
    """What to predict, like `noisy`."""
    timesteps: Tensor
    """(b,) int64."""
    skeletons: Tensor
    """(p, 3, side, side) float32 in [0, 1], p even: the first p rows are people in these poses."""


class Batches:
    """Draws batches; the same step and generator always give the same one."""

    def __init__(self, seed: int, steps: int, rows: int, device: str, sides: tuple[int, ...] = SIDES) -> None:
        self._seed, self._steps, self._rows, self._device = seed, steps, rows, device
        self._sides = sides
        self._sets: dict[int, Latents] = {}
        self._people: dict[int, np.ndarray] = {}
        self._kept = build_scheduler().alphas_cumprod

    def draw(self, step: int, posed: bool, generator: np.random.Generator) -> Batch:
        """A batch; with `posed` a third of its rows are people with skeletons, and it is a third smaller."""
        side = self._side(step)
        chosen = self._set(side)
        scenes = max(1, round(self._rows * _ROWS[side] / 2))
        people = max(1, scenes // 3) if posed else 0  # a row with a skeleton costs as much as two
        free = generator.integers(0, len(chosen.scenes), max(1, scenes - 2 * people))
        numbers = np.concatenate([generator.choice(self._people[side], people), free]).astype(np.int64)
        latents = chosen.latents[numbers].float().repeat_interleave(2, 0)
        latents = latents.to(self._device, memory_format=torch.channels_last)
        noisy, velocity, timesteps = noised(latents, self._kept, timesteps_of(side, len(latents), generator), generator)
        return Batch(
            side_px=side,
            captions=[_dropped(caption(chosen.scenes[number], generator), generator) for number in numbers],
            noisy=noisy,
            velocity=velocity,
            timesteps=timesteps,
            skeletons=self._skeletons(chosen, numbers[:people], generator),
        )

    def _side(self, step: int) -> int:
        """The size of a step: the same for all workers, so that none waits for another."""
        if step < _SMALL_ONLY * self._steps:
            return SIDES[0]
        shares = np.array([_STEPS[side] for side in self._sides])
        return int(np.random.default_rng((self._seed, step)).choice(self._sides, p=shares / shares.sum()))

    def _set(self, side: int) -> Latents:
        if side not in self._sets:
            self._sets[side] = load_latents(side, self._seed, self._device)
            kinds = np.array([scene.kind for scene in self._sets[side].scenes])
            self._people[side] = np.flatnonzero(kinds == "person")
        return self._sets[side]

    def _skeletons(self, chosen: Latents, numbers: np.ndarray, generator: np.random.Generator) -> Tensor:
        side = chosen.side_px
        poses = [chosen.scenes[number].keypoints() + generator.normal(0, _JITTER, (18, 2)) for number in numbers]
        drawn = np.array([draw_skeleton(pose, side) for pose in poses], np.uint8).reshape(-1, side, side, 3)
        pixels = torch.from_numpy(drawn).to(self._device).permute(0, 3, 1, 2).float() / 255
        return pixels.repeat_interleave(2, 0).contiguous(memory_format=torch.channels_last)


def _dropped(text: str, generator: np.random.Generator) -> str | None:
    """The caption, or now and then none, so that guidance has something to lead away from."""
    draw = generator.random()
    return None if draw < _DROPPED / 2 else "" if draw < _DROPPED else text


def timesteps_of(side_px: int, count: int, generator: np.random.Generator) -> Tensor:
    """Random timesteps, (count,) int64: some spread evenly, most where pictures of this size take their shape."""
    middle = generator.normal(_MIDDLE[side_px], _SPREAD, count)
    drawn = np.where(generator.random(count) < _EVEN, generator.uniform(0, 1000, count), middle)
    return torch.from_numpy(np.clip(drawn, 0, 999).astype(np.int64))


def noised(
    latents: Tensor, kept: Tensor, timesteps: Tensor, generator: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Adds noise.

    Args:
        latents: (b, 4, h, w) float32.
        kept: The schedule's cumulative alphas, (1000,).
        timesteps: (b,) int64.

    Returns:
        The noisy latents and the velocity to predict, both like `latents`, and the timesteps on their device.
    """
    noise = torch.from_numpy(generator.standard_normal(latents.shape, np.float32)).to(latents.device)
    signal = kept[timesteps].to(latents.device)[:, None, None, None]
    noisy = signal.sqrt() * latents + (1 - signal).sqrt() * noise
    return noisy, signal.sqrt() * noise - (1 - signal).sqrt() * latents, timesteps.to(latents.device)
