"""The embedded model's pose estimator: a small network with the interface of controlnet-aux's own body estimator."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional as F

from deployments.diffusion.openpose import Body

KEYPOINTS = 18


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.GroupNorm(4, width)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, x + self.second(F.silu(self.first(F.silu(self.norm(x))))))


class PoseNetwork(ModelMixin, ConfigMixin):
    """Pictures → how likely each keypoint is where: an hourglass whose maps have a quarter of the picture's side."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, side_px: int = 192, widths: tuple[int, ...] = (16, 32, 48, 72)) -> None:
        super().__init__()
        self.down = nn.ModuleList()
        before = 3
        for level, width in enumerate(widths):
            blocks = [_Residual(width)] if level else []
            self.down.append(
                nn.Sequential(nn.Conv2d(before, width, 5 if level == 0 else 3, 2, 1 + (level == 0)), *blocks)
            )
            before = width
        self.middle = nn.Sequential(*(_Residual(widths[-1]) for _ in range(2)))
        self.up = nn.ModuleList(nn.Conv2d(w, v, 1) for w, v in zip(widths[:1:-1], widths[-2:0:-1], strict=True))
        self.mix = nn.ModuleList(_Residual(width) for width in widths[-2:0:-1])
        self.head = nn.Conv2d(widths[1], KEYPOINTS, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """(b, 3, side, side) RGB in [-1, 1] → (b, 18, side / 4, side / 4) logits."""
        levels = []
        for block in self.down:
            pixels = block(pixels)
            levels.append(pixels)
        x = self.middle(levels[-1])
        for skip, up, mix in zip(levels[-2:0:-1], self.up, self.mix, strict=True):
            x = mix(F.interpolate(up(x), scale_factor=2.0, mode="nearest") + skip)
        return cast(Tensor, self.head(x))


class BodyEstimator:
    """Finds at most one person. Takes the place of `controlnet_aux.open_pose.body.Body` in an `OpenposeDetector`."""

    format_body_result = staticmethod(Body.format_body_result)

    def __init__(self, model: PoseNetwork, least_score: float = 0.3, least_keypoints: int = 10) -> None:
        """A keypoint counts from `least_score` (0 to 1) on, and a person from `least_keypoints` on."""
        self.model = model.eval()
        self._least_score, self._least_keypoints = least_score, least_keypoints

    @classmethod
    def from_pretrained(cls, folder: str | Path, dtype: torch.dtype = torch.float32) -> BodyEstimator:
        """Loads the estimator from a folder in diffusers layout."""
        return cls(PoseNetwork.from_pretrained(folder, dtype=dtype))

    def to(self, device: str | torch.device) -> BodyEstimator:
        """Moves the network, and returns the estimator, as its namesake does."""
        self.model.to(device)
        return self

    @torch.no_grad()
    def __call__(self, oriImg: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # noqa: N803  (its namesake's parameter)
        """Finds the keypoints of one person.

        Args:
            oriImg: (h, w, 3) uint8, BGR, any size.

        Returns:
            The keypoints found, (k, 4): x and y in pixels, score, number; and the people found, (0 or 1, 20): for each
            of the 18 parts the number of its keypoint or -1, then the total score and the number of parts.
        """
        height, width = oriImg.shape[:2]
        side = max(height, width)
        scores, x, y = self._peaks(self._squared(oriImg, side))
        found = scores >= self._least_score
        if found.sum() < self._least_keypoints:
            return np.zeros((0, 4)), np.zeros((0, 20))
        x, y = np.clip(x * side, 0, width - 1), np.clip(y * side, 0, height - 1)
        candidate = np.stack([x, y, scores, np.zeros(KEYPOINTS)], 1)[found]
        candidate[:, 3] = np.arange(len(candidate))
        person = np.full(20, -1.0)
        person[:KEYPOINTS][found] = candidate[:, 3]
        person[18:] = scores[found].sum(), found.sum()
        return candidate, person[None]

    def _squared(self, picture: np.ndarray, side: int) -> Tensor:
        """BGR bytes of any size → one RGB input, (1, 3, side_px, side_px) in [-1, 1], grey around the picture."""
        height, width = picture.shape[:2]
        pixels = torch.from_numpy(picture[:, :, ::-1].copy()).to(self.model.device, torch.float32)
        pixels = F.pad(pixels.permute(2, 0, 1)[None] / 127.5 - 1, (0, side - width, 0, side - height))
        target = self.model.config.side_px
        return F.interpolate(pixels, (target, target), mode="bilinear", antialias=True).to(self.model.dtype)

    def _peaks(self, pixels: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The score, x and y of each keypoint's peak, (18,) each; x and y as shares of the side."""
        maps = self.model(pixels).float().sigmoid()[0]
        side = maps.shape[-1]
        scores, flat = maps.flatten(1).max(1)
        rows, columns = flat // side, flat % side
        around = torch.arange(-2, 3, device=maps.device)
        padded = F.pad(maps, (2, 2, 2, 2))
        patch_rows, patch_columns = (
            (rows[:, None] + 2 + around)[:, :, None],
            (columns[:, None] + 2 + around)[:, None, :],
        )
        patch = padded[torch.arange(KEYPOINTS, device=maps.device)[:, None, None], patch_rows, patch_columns]
        weight = patch.sum((1, 2)).clamp_min(1e-6)
        x = columns + (patch.sum(1) * around).sum(1) / weight
        y = rows + (patch.sum(2) * around).sum(1) / weight
        return scores.cpu().numpy(), ((x + 0.5) / side).cpu().numpy(), ((y + 0.5) / side).cpu().numpy()
