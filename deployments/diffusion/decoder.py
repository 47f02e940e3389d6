"""Latents → pixels."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch

from deployments.config import EngineConfig
from deployments.diffusion.components import Components
from deployments.engine_stats import EngineStats
from deployments.jobs import Pixels


class DrawnPicture(NamedTuple):
    """A picture that the device may still be drawing."""

    pixels: torch.Tensor
    """(height_px, width_px, 3) uint8, on the host; valid when `ready` is."""
    finite: torch.Tensor
    """One bool, likewise: whether the decoder gave numbers."""
    ready: torch.cuda.Event | None

    def wait(self) -> Pixels | None:
        """(height_px, width_px, 3) uint8, or None where it is not finite. Other threads run on while it waits."""
        if self.ready is not None:
            self.ready.synchronize()
        return self.pixels.numpy() if bool(self.finite) else None


class Decoder:
    """The VAE's decoder, with a second attempt in fp32, and the smaller decoder of previews.

    One picture a pass: at 1024 x 1024 it fills a device, and one shape is all that has to be compiled.
    """

    def __init__(self, components: Components, config: EngineConfig, stats: EngineStats) -> None:
        """Counts decodes that had no memory in `stats`."""
        self._components = components
        self._stats = stats
        self._preview_px = config.preview_px
        self._fp32_vae: Any = None

    def decode(self, latents: torch.Tensor, in_fp32: bool = False) -> list[DrawnPicture]:
        """Draws pictures.

        Args:
            latents: (pictures, channels, height, width) float32.
            in_fp32: For what was not finite in the VAE's own dtype.
        """
        vae = self._vae_in_fp32() if in_fp32 else self._components.vae
        return [self._decode(one, vae) for one in torch.split(latents, 1)]

    def preview(self, latents: torch.Tensor) -> list[DrawnPicture]:
        """As `decode`, but small: the longest edge is near the configured one."""
        small = self._components.preview_vae
        if small is None:
            edge = self._preview_px // self._components.latent_scale
            factor = -(-max(latents.shape[-2:]) // max(edge, 1))
            latents = torch.nn.functional.avg_pool2d(latents, factor, ceil_mode=True) if factor > 1 else latents
            return self.decode(latents)
        factor = -(-max(latents.shape[-2:]) * self._components.latent_scale // self._preview_px)
        decoded = small.decode(latents.to(small.dtype), return_dict=False)[0].float()
        decoded = torch.nn.functional.avg_pool2d(decoded, factor) if factor > 1 else decoded
        return [_to_host(one) for one in decoded]

    def rehearse(self, height: int, width: int) -> None:
        """Decodes zeros, with latents of `height` x `width`."""
        channels = self._components.vae.config.latent_channels
        zeros = torch.zeros(1, channels, height, width, device=self._components.device)
        self._decode(zeros, self._components.vae).wait()

    def _decode(self, latents: torch.Tensor, vae: Any) -> DrawnPicture:
        """Decodes one picture; once more when the device has no memory for it and may still free some."""
        unscaled = _unscaled(latents, vae).to(vae.dtype).contiguous()  # see `Denoiser._gather`
        try:
            return _to_host(vae.decode(unscaled, return_dict=False)[0][0])
        except torch.OutOfMemoryError:
            self._stats.out_of_memory += 1
        torch.cuda.empty_cache()
        return _to_host(vae.decode(unscaled, return_dict=False)[0][0])

    def _vae_in_fp32(self) -> Any:
        """A copy, made when it is first needed: the VAE's own weights stay where compiled graphs read them."""
        if self._fp32_vae is None:
            vae = self._components.vae
            self._fp32_vae = vae if vae.dtype == torch.float32 else copy.deepcopy(vae).to(torch.float32)
        return self._fp32_vae


def _unscaled(latents: torch.Tensor, vae: Any) -> torch.Tensor:
    latents = latents / float(vae.config.scaling_factor)
    mean, std = getattr(vae.config, "latents_mean", None), getattr(vae.config, "latents_std", None)
    if mean is None or std is None:
        return latents
    return latents * latents.new_tensor(std).view(1, -1, 1, 1) + latents.new_tensor(mean).view(1, -1, 1, 1)


def _to_host(decoded: torch.Tensor) -> DrawnPicture:
    """As the pipelines' image processor, but in bytes before they leave the device, and without waiting for it.

    Args:
        decoded: (3, height_px, width_px), -1 to 1.
    """
    finite = torch.isfinite(decoded).all()
    scaled = (decoded.float() * 0.5 + 0.5).clamp(0, 1).mul(255).round()
    pixels = scaled.nan_to_num().to(torch.uint8).permute(1, 2, 0).contiguous()
    if decoded.device.type != "cuda":
        return DrawnPicture(pixels, finite, None)
    host = [torch.empty_like(each, device="cpu", pin_memory=True) for each in (pixels, finite)]
    for there, here in zip(host, (pixels, finite), strict=True):
        there.copy_(here, non_blocking=True)
    ready = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # who waits for it sleeps
    ready.record()
    return DrawnPicture(host[0], host[1], ready)
