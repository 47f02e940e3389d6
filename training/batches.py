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
_STEPS = {256: 0.3, 512: 0.2, 1024: 0.5}  # shares of the steps
_ROWS = {256: 2.0, 512: 1.0, 1024: 1 / 4}  # of the batch
_MIDDLE = {256: 380.0, 512: 450.0, 1024: 540.0}  # the timestep where a size's outlines are decided
_SPREAD, _EVEN = 160.0, 0.35  # deviation around the middle; share of timesteps that are drawn evenly
_EDITED = 0.2  # of the scenes start from other colours than the caption's, at the timesteps where an edit starts
_EDIT_TIMESTEPS = (200, 700)
_OTTERS = 1.6  # times as often as their share of the scenes: they have the most small parts
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
    """(p, 3, side, side) float32 in [0, 1]: the first 2 p rows are people in these poses."""


class Batches:
    """Draws batches; the same step and generator always give the same one."""

    def __init__(self, seed: int, rows: int, device: str, sides: tuple[int, ...] = SIDES) -> None:
        self._seed, self._rows, self._device = seed, rows, device
        self._sides = sides
        self._sets: dict[int, Latents] = {}
        self._people: dict[int, np.ndarray] = {}
        self._free: dict[int, np.ndarray] = {}
        self._kept = build_scheduler().alphas_cumprod

    def draw(self, step: int, posed: bool, generator: np.random.Generator) -> Batch:
        """A batch; with `posed` some of its rows are people with skeletons, and it is a little smaller."""
        side = self._side(step)
        chosen = self._set(side)
        scenes = max(1, round(self._rows * _ROWS[side] / 2))
        people = max(1, scenes // 6) if posed else 0  # a row with a skeleton costs as much as two
        free = max(1, scenes - 2 * people)
        edited = np.concatenate([np.zeros(people, bool), generator.random(free) < _EDITED])
        numbers = np.concatenate(
            [
                generator.choice(self._people[side], people),
                generator.choice(len(chosen.scenes), free, p=self._free[side]),
            ]
        ).astype(np.int64)
        numbers[edited] %= len(chosen.before)
        captions = [_dropped(caption(chosen.scenes[number], generator), generator) for number in numbers]
        edited &= [bool(text) for text in captions]
        twice = torch.from_numpy(edited).repeat_interleave(2)
        timesteps = timesteps_of(side, len(twice), generator)
        timesteps[twice] = torch.from_numpy(generator.integers(*_EDIT_TIMESTEPS, int(twice.sum())))
        latents = self._rows_of(chosen.latents, numbers)
        shown = latents.clone()
        shown[twice] = self._rows_of(chosen.before, numbers[edited])
        noisy, velocity = noised(latents, shown, self._kept, timesteps, generator)
        return Batch(
            side_px=side,
            captions=captions,
            noisy=noisy,
            velocity=velocity,
            timesteps=timesteps.to(self._device),
            skeletons=self._skeletons(chosen, numbers[:people], generator),
        )

    def _rows_of(self, latents: Tensor, numbers: np.ndarray) -> Tensor:
        rows = latents[numbers].float().repeat_interleave(2, 0)
        return rows.to(self._device, memory_format=torch.channels_last)

    def _side(self, step: int) -> int:
        """The size of a step: the same for all workers, so that none waits for another."""
        shares = np.array([_STEPS[side] for side in self._sides])
        return int(np.random.default_rng((self._seed, step)).choice(self._sides, p=shares / shares.sum()))

    def _set(self, side: int) -> Latents:
        if side not in self._sets:
            self._sets[side] = load_latents(side, self._seed, self._device)
            kinds = np.array([scene.kind for scene in self._sets[side].scenes])
            self._people[side] = np.flatnonzero(kinds == "person")
            weights = np.where(kinds == "otter", _OTTERS, 1.0)
            self._free[side] = weights / weights.sum()
        return self._sets[side]

    def _skeletons(self, chosen: Latents, numbers: np.ndarray, generator: np.random.Generator) -> Tensor:
        side = chosen.side_px
        poses = [chosen.scenes[number].keypoints() + generator.normal(0, _JITTER, (18, 2)) for number in numbers]
        drawn = np.array([draw_skeleton(pose, side) for pose in poses], np.uint8).reshape(-1, side, side, 3)
        pixels = torch.from_numpy(drawn).to(self._device).permute(0, 3, 1, 2).float() / 255
        return pixels.contiguous(memory_format=torch.channels_last)


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
    latents: Tensor, shown: Tensor, kept: Tensor, timesteps: Tensor, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Adds noise.

    Args:
        latents: What to draw, (b, 4, h, w) float32.
        shown: What the noise is added to, like `latents`: the same, or the picture before an edit.
        kept: The schedule's cumulative alphas, (1000,).
        timesteps: (b,) int64.

    Returns:
        The noisy latents and the velocity that leads from them to `latents`.
    """
    noise = torch.from_numpy(generator.standard_normal(latents.shape, np.float32)).to(latents.device)
    signal = kept[timesteps].to(latents.device)[:, None, None, None]
    noisy = signal.sqrt() * shown + (1 - signal).sqrt() * noise
    return noisy, (signal.sqrt() * noisy - latents) / (1 - signal).sqrt()
