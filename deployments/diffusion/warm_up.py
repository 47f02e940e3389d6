"""Makes an engine ready before its first job: kernels compiled and loaded, the budget known."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

import torch

from deployments.config import EngineConfig
from deployments.diffusion.components import Components
from deployments.diffusion.decoder import Decoder
from deployments.diffusion.denoiser import Denoiser
from deployments.diffusion.memory import free_bytes, measure, remembered
from deployments.diffusion.optimize import cache_folder

logger = logging.getLogger(__name__)

ROWS_CPU, ROWS_GPU = 1, 16
"""Rows of the checkpoint's own size beyond which a pass only takes longer. SDXL at 1024 x 1024 nearly fills a GPU with
two. One on a CPU keeps SDXL within little memory; the embedded model gains from eight, so demo.yaml has its own budget.
"""


def budget_of(components: Components, config: EngineConfig) -> int:
    """Rows x latent pixels that one forward pass should have at most, before the memory has been looked at."""
    rows = ROWS_GPU if components.device.type == "cuda" else ROWS_CPU
    return config.budget or rows * int(components.unet.config.sample_size) ** 2


def warm_up(components: Components, config: EngineConfig, denoiser: Denoiser, decoder: Decoder) -> int | None:
    """Rehearses the configured sizes, with and without a pose, in every row bucket that the budget allows.

    Returns:
        The most rows x latent pixels that a forward pass can have: the configured budget, or what the GPU has memory
        for; None where neither is known.
    """
    if config.compile:
        # Past its limit torch would silently stop compiling; what is compiled is bounded by the sizes and buckets here.
        # The setting counts for the thread that makes it, so it is made here, on the engine's.
        dynamo: Any = torch._dynamo.config
        dynamo.recompile_limit = dynamo.accumulated_recompile_limit = 10_000
    scale = components.latent_scale
    sizes = [(height_px // scale, width_px // scale) for width_px, height_px in config.warm_up_sizes]
    budget = budget_of(components, config)
    limit = config.budget
    if sizes and not limit and components.device.type == "cuda":
        limit = _memory_budget(components, config, denoiser, decoder, max(sizes, key=math.prod))
        budget = min(budget, limit)
    started_s = time.monotonic()
    for height, width in sizes:
        held = _rehearse(components, config, denoiser, budget, height, width)
        if held < budget:
            limit = budget = held
        for pictures in range(1, config.decode_batch + 1) if config.compile else [1]:
            for _ in range(_repeats(config)):
                decoder.rehearse(pictures, height, width)
    denoiser.stop_compiling()
    decoder.stop_compiling()
    if sizes:
        logger.info("warmed up %d sizes in %.1f s; budget %d", len(sizes), time.monotonic() - started_s, budget)
    return limit


def _rehearse(
    components: Components, config: EngineConfig, denoiser: Denoiser, budget: int, height: int, width: int
) -> int:
    """Runs the passes of one size, and returns the budget that the device had memory for: others may use it too."""
    while True:
        most = max(1, budget // (height * width))
        try:
            for rows in _rehearsed_rows(config, most):
                for posed in (False, True)[: 1 if components.controlnet is None else 2]:
                    for _ in range(_repeats(config)):
                        denoiser.rehearse(rows, height, width, posed)
        except torch.OutOfMemoryError:
            if most == 1:
                raise
            budget = most // 2 * height * width
            logger.warning(
                "out of memory at the warm-up with %d rows of %dx%d latents; budget halved", most, height, width
            )
            torch.cuda.empty_cache()
        else:
            return budget


def _repeats(config: EngineConfig) -> int:
    """How often a pass is rehearsed. A CUDA graph is recorded at the second call, and needs the memory for it then."""
    return 2 if config.cuda_graphs else 1


def _rehearsed_rows(config: EngineConfig, most: int) -> list[int]:
    """Row counts of the passes that will be run: every bucket up to `most` rows, and at least the smallest."""
    if not config.compile:
        return [min(2, most), most]
    return [rows for rows in sorted(config.row_buckets) if rows <= most] or [min(config.row_buckets)]


def _measured_rows(config: EngineConfig) -> tuple[int, int]:
    """The rows of the two passes whose memory is compared; compiled passes are padded to the buckets."""
    if not config.compile:
        return 2, 4
    few, many = [0, *sorted(set(config.row_buckets))[:2]][-2:]
    return few, many


def _memory_budget(
    components: Components, config: EngineConfig, denoiser: Denoiser, decoder: Decoder, size: tuple[int, int]
) -> int:
    height, width = size
    models = [model for model in (components.unet, components.controlnet, components.vae) if model is not None]
    key = " ".join(
        [
            *(f"{model.config._name_or_path} {model.dtype}" for model in models),
            f"{torch.cuda.get_device_name()} torch {torch.__version__} {height}x{width}",
            f"compile={config.compile} channels_last={config.channels_last} fuse_qkv={config.fuse_qkv}",
            f"cuda_graphs={config.cuda_graphs} rows={_measured_rows(config)}",
        ]
    )
    posed = components.controlnet is not None
    rows = _measured_rows(config)
    footprint = remembered(
        cache_folder(config) / "memory.json", key, lambda: measure(denoiser, decoder, rows, height, width, posed)
    )
    return footprint.budget(free_bytes(), config.decode_batch * height * width)
