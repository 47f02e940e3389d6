"""The device's abilities: weight layout, fused projections, compiled models. Each can be switched off."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, FusedAttnProcessor2_0
from huggingface_hub.constants import HF_HOME
from torch.utils._pytree import tree_leaves

from deployments.config import EngineConfig
from deployments.diffusion.components import Components


def optimize(components: Components, config: EngineConfig) -> None:
    """Changes the models' weights in place for the device."""
    denoisers = [model for model in (components.unet, components.controlnet) if model is not None]
    if config.channels_last:
        for model in (*denoisers, components.vae):
            model.to(memory_format=torch.channels_last)
    if config.fuse_qkv:
        for model in denoisers:
            _fuse_projections(model)


def cache_folder(config: EngineConfig) -> Path:
    """Where compiled kernels and measurements are kept between starts."""
    return Path(config.cache_dir or Path(HF_HOME) / "sdxl-serve")


class Compiled:
    """A function that is compiled for the inputs it meets while `learning`, each shape for itself.

    Later it runs other shapes eagerly: compiling one takes a minute, in which all jobs would wait.
    """

    def __init__(self, function: Callable[..., Any], config: EngineConfig) -> None:
        self.learning = config.compile
        self._eager = self._compiled = function
        self._known: set[Hashable] = set()
        if config.compile:
            os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder(config) / "inductor"))
            mode = "reduce-overhead" if config.cuda_graphs else None
            self._compiled = torch.compile(function, dynamic=False, mode=mode)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        leaves = tree_leaves((arguments, named))
        shapes = tuple((leaf.shape, leaf.dtype) for leaf in leaves if isinstance(leaf, torch.Tensor))
        if self.learning:
            self._known.add(shapes)
        function = self._compiled if shapes in self._known else self._eager
        return function(*arguments, **named)


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
