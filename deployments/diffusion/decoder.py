"""Latents → pixels."""

from __future__ import annotations

from typing import Any

import torch

from deployments.config import EngineConfig
from deployments.diffusion.components import Components
from deployments.diffusion.optimize import Compiled
from deployments.engine_stats import EngineStats
from deployments.jobs import Pixels


class Decoder:
    """The VAE's decoder, with a second attempt in fp32, and the smaller decoder of previews."""

    def __init__(self, components: Components, config: EngineConfig, stats: EngineStats) -> None:
        """Counts its second attempts in `stats`."""
        self._components = components
        self._stats = stats
        self._vae_decode = Compiled(components.vae.decode, config)
        self._pictures_per_pass = config.decode_batch
        self._preview_px = config.preview_px

    def decode(self, latents: torch.Tensor) -> list[Pixels | None]:
        """Draws pictures.

        Args:
            latents: (pictures, channels, height, width) float32.

        Returns:
            For each picture (height_px, width_px, 3) uint8, or None where it is not finite even in fp32.
        """
        pictures: list[Pixels | None] = []
        for batch in torch.split(latents, self._pictures_per_pass):
            decoded = self._decode(batch)
            for index, picture in enumerate(decoded):
                pictures.append(picture if picture is not None else self._decode_in_fp32(batch[index : index + 1]))
        return pictures

    def preview(self, latents: torch.Tensor) -> list[Pixels | None]:
        """As `decode`, but small: the longest edge is near the configured one. There is no second attempt."""
        small = self._components.preview_vae
        if small is None:
            edge = self._preview_px // self._components.latent_scale
            factor = -(-max(latents.shape[-2:]) // max(edge, 1))
            latents = torch.nn.functional.avg_pool2d(latents, factor, ceil_mode=True) if factor > 1 else latents
            return self._decode(latents)
        factor = -(-max(latents.shape[-2:]) * self._components.latent_scale // self._preview_px)
        decoded = small.decode(latents.to(small.dtype), return_dict=False)[0].float()
        return _pixels(torch.nn.functional.avg_pool2d(decoded, factor) if factor > 1 else decoded)

    def rehearse(self, pictures: int, height: int, width: int) -> None:
        """Decodes zeros, with latents of `height` x `width`."""
        channels = self._components.vae.config.latent_channels
        self._decode(torch.zeros(pictures, channels, height, width, device=self._components.device))

    def stop_compiling(self) -> None:
        """From now on, shapes that were not rehearsed run eagerly."""
        self._vae_decode.learning = False

    def _decode(self, latents: torch.Tensor) -> list[Pixels | None]:
        """Decodes a batch; one by one when the device has no memory for all of it."""
        vae = self._components.vae
        try:
            unscaled = _unscaled(latents, vae).to(vae.dtype).contiguous()  # see `Denoiser._gather`
            return _pixels(self._vae_decode(unscaled, return_dict=False)[0])
        except torch.OutOfMemoryError:
            self._stats.out_of_memory += 1
            if len(latents) == 1:
                raise
        torch.cuda.empty_cache()
        return [picture for one in torch.split(latents, 1) for picture in self._decode(one)]

    def _decode_in_fp32(self, latents: torch.Tensor) -> Pixels | None:
        self._stats.nan_retries += 1
        vae = self._components.vae
        dtype = vae.dtype
        vae.to(torch.float32)
        try:
            return self._decode(latents)[0]
        finally:
            vae.to(dtype)


def _unscaled(latents: torch.Tensor, vae: Any) -> torch.Tensor:
    latents = latents / float(vae.config.scaling_factor)
    mean, std = getattr(vae.config, "latents_mean", None), getattr(vae.config, "latents_std", None)
    if mean is None or std is None:
        return latents
    return latents * latents.new_tensor(std).view(1, -1, 1, 1) + latents.new_tensor(mean).view(1, -1, 1, 1)


def _pixels(decoded: torch.Tensor) -> list[Pixels | None]:
    """As the pipelines' image processor, but in bytes before they leave the device.

    Args:
        decoded: (pictures, 3, height_px, width_px), -1 to 1.
    """
    finite = torch.isfinite(decoded).flatten(1).all(1)
    scaled = (decoded.float() * 0.5 + 0.5).clamp(0, 1).mul(255).round()
    pixels = scaled.nan_to_num().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [picture if good else None for picture, good in zip(pixels, finite.tolist(), strict=True)]
