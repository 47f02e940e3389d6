"""The device's abilities: weight layout, fused projections, 8-bit layers. Each can be switched off."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.attention_processor import Attention, FusedAttnProcessor2_0

from deployments.config import EngineConfig
from deployments.diffusion.acceleration.fp8 import quantize_linears
from deployments.diffusion.components import Components


def optimize(components: Components, config: EngineConfig) -> None:
    """Changes the models' weights in place for the device.

    Raises:
        ValueError, ImportError: what the configuration asks for is not to be had here.
    """
    denoisers = [model for model in (components.unet, components.controlnet) if model is not None]
    if components.device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # each convolution by the algorithm that is fastest for its shape
    if config.channels_last:
        for model in (*denoisers, components.vae):
            model.to(memory_format=torch.channels_last)
    if config.fuse_qkv:
        for model in denoisers:
            _fuse_projections(model)
    if config.quantize:
        quantize_linears(denoisers, components.device)


def _fuse_projections(model: Any) -> None:
    """What the UNet's `fuse_qkv_projections` does; the ControlNet's method of that name leaves its attention as is."""
    for module in model.modules():
        if isinstance(module, Attention) and not module.fused_projections:
            module.fuse_projections(fuse=True)
            # The weights are in the fused ones now: SDXL's UNet would hold a quarter more of them than it uses.
            del module.to_k, module.to_v
            if not module.is_cross_attention:
                del module.to_q
    model.set_attn_processor(FusedAttnProcessor2_0())
