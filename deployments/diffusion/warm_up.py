"""Makes an engine ready before its first job: kernels chosen, compiled and loaded, the budget known."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import asdict
from functools import partial
from typing import Any

import diffusers
import torch

from deployments.config import EngineConfig
from deployments.diffusion.acceleration.attention import KERNELS, AttentionShape, choose_kernels, fastest_kernel
from deployments.diffusion.acceleration.compilation import (
    artifacts_file,
    compile_models,
    kernels_compiled,
    load_artifacts,
    save_artifacts,
    stop_compiling,
)
from deployments.diffusion.components import Components
from deployments.diffusion.decoder import Decoder
from deployments.diffusion.denoiser import Denoiser
from deployments.diffusion.device_time import measure_s
from deployments.diffusion.kept_files import cache_folder, remembered
from deployments.diffusion.memory import Footprint, free_bytes, measure

logger = logging.getLogger(__name__)

ROWS_CPU, ROWS_GPU = 1, 16
"""Rows of the checkpoint's own size beyond which a pass only takes longer. SDXL at 1024 x 1024 nearly fills a GPU with
two. One on a CPU keeps SDXL within little memory; the embedded model gains from eight, so demo.yaml has its own budget.
"""


def budget_of(components: Components, config: EngineConfig) -> int:
    """Rows x latent pixels that one forward pass should have at most, before the memory has been looked at."""
    rows = ROWS_GPU if components.device.type == "cuda" else ROWS_CPU
    return config.budget or rows * int(components.unet.config.sample_size) ** 2


class WarmUp:
    """Runs once, on the engine's thread, after the models' weights have their final form."""

    def __init__(self, components: Components, config: EngineConfig, denoiser: Denoiser, decoder: Decoder) -> None:
        self._components = components
        self._config = config
        self._denoiser = denoiser
        self._decoder = decoder
        self._budget = budget_of(components, config)
        scale = components.latent_scale
        self._sizes = [(height_px // scale, width_px // scale) for width_px, height_px in config.warm_up_sizes]
        self._posed = (False, True)[: 1 if components.controlnet is None else 2]
        self._models = [each for each in (components.unet, components.controlnet, components.vae) if each is not None]
        self._folder = cache_folder(config)
        self._measured = self._folder / "measured.json"

    def run(self) -> int | None:
        """Rehearses the configured sizes, with and without a pose, in every row count that the budget allows.

        Returns:
            The most rows x latent pixels that a forward pass can have: the configured budget, or what the GPU has
            memory for; None where neither is known.
        """
        started_s = time.monotonic()
        on_gpu = self._components.device.type == "cuda"
        if self._sizes and (on_gpu or self._config.attention != "auto"):
            self._choose_attention()
        compile_models(self._components, self._config)
        artifacts = artifacts_file(self._folder, self._key())
        is_kept = bool(self._config.compile) and load_artifacts(artifacts)
        kernels = kernels_compiled()
        limit = self._config.budget
        if self._sizes and not limit and on_gpu:
            limit = self._memory_budget()
            self._budget = min(self._budget, limit or self._budget)
        for height, width in self._sizes:
            if self._rehearse(height, width):
                limit = self._budget
            for _ in range(self._repeats):
                self._decoder.rehearse(height, width)
        if self._config.compile:
            stop_compiling()
            if not is_kept or kernels_compiled() > kernels:
                save_artifacts(artifacts)
        if self._sizes:
            seconds = time.monotonic() - started_s
            logger.info("warmed up %d sizes in %.1f s; budget %d", len(self._sizes), seconds, self._budget)
        return limit

    @property
    def _largest(self) -> tuple[int, int]:
        return max(self._sizes, key=math.prod)

    @property
    def _repeats(self) -> int:
        """How often a pass is rehearsed. A CUDA graph is recorded at the second call, and needs the memory for it."""
        return 2 if self._config.cuda_graphs else 1

    def _choose_attention(self) -> None:
        height, width = self._largest
        device, named = self._components.device, self._config.attention
        kernels = list(KERNELS) if named == "auto" else [named]

        def one_picture() -> None:
            self._denoiser.rehearse(2, height, width, self._posed[-1])
            self._decoder.rehearse(height, width)

        def remembered_fastest(shape: AttentionShape, dtype: torch.dtype) -> str | None:
            key = f"attention {self._device_name()} {dtype} {tuple(shape)} of {kernels}"
            measured = remembered(
                self._measured, key, lambda: {"kernel": fastest_kernel(shape, dtype, device, kernels)}
            )
            name: str | None = measured["kernel"]
            return name

        choose_kernels(self._models, one_picture, remembered_fastest)

    def _memory_budget(self) -> int | None:
        """What there is memory for; None where even the probe has none: then the rehearsal finds what fits."""
        height, width = self._largest
        rows = measured_rows(self._denoiser.buckets)

        def measured() -> dict[str, Any]:
            return asdict(measure(self._denoiser, self._decoder, rows, height, width, self._posed[-1]))

        key = f"memory {self._key()} {height}x{width} rows={rows}"
        try:
            footprint = Footprint(**remembered(self._measured, key, measured))
        except torch.OutOfMemoryError:
            logger.warning("out of memory with %d rows of %dx%d latents", rows[1], height, width)
            footprint = None
        if footprint is None:  # outside of the handler, which would hold the tensors
            torch.cuda.empty_cache()
            return None
        return footprint.budget(free_bytes(), height * width)

    def _rehearse(self, height: int, width: int) -> bool:
        """Runs the passes of one size. Returns whether the budget had to be lowered, for all sizes: others may use
        the device's memory too."""
        is_lowered = False
        while True:
            most = max(1, self._budget // (height * width))
            try:
                for rows in self._rehearsed_rows(most):
                    for posed in self._posed:
                        for _ in range(self._repeats):
                            self._denoiser.rehearse(rows, height, width, posed)
                    self._time(rows, height, width)
            except torch.OutOfMemoryError:
                if most == 1:
                    raise
                is_lowered = True
                self._budget = most // 2 * height * width
                logger.warning(
                    "out of memory at the warm-up with %d rows of %dx%d latents; budget halved", most, height, width
                )
                torch.cuda.empty_cache()
            else:
                return is_lowered

    def _time(self, rows: int, height: int, width: int) -> None:
        """Measures a pass without poses, which decides how rows are cut into passes."""
        if self._denoiser.buckets:
            seconds = measure_s(partial(self._denoiser.rehearse, rows, height, width), self._components.device)
            self._denoiser.pass_seconds.setdefault((height, width), {})[rows] = seconds

    def _rehearsed_rows(self, most: int) -> list[int]:
        """Row counts of the passes that will be run: every bucket up to `most` rows, and at least the smallest."""
        buckets = self._denoiser.buckets
        if not buckets:
            return [min(2, most), most]
        return [rows for rows in buckets if rows <= most] or [buckets[0]]

    def _device_name(self) -> str:
        device = self._components.device
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        return f"{name} torch {torch.__version__}"

    def _key(self) -> str:
        """Everything that compiled graphs and the memory of a pass depend on."""
        architectures = [
            f"{model.dtype} { ({name: value for name, value in model.config.items() if not name.startswith('_')}) }"
            for model in self._models
        ]
        rest = {"prompt_cache_bytes", "preview_decoder", "preview_px", "overtaking", "heartbeat_timeout_s", "cache_dir"}
        settings = self._config.model_dump(exclude=rest | {"decode_batch", "encoder_threads"})
        return " ".join([self._device_name(), f"diffusers {diffusers.__version__}", *architectures, str(settings)])


def measured_rows(buckets: tuple[int, ...]) -> tuple[int, int]:
    """The rows of the two passes whose memory is compared: the two smallest buckets, the smaller first; 0 is none."""
    few, many = [0, *(buckets or (2, 4))[:2]][-2:]
    return few, many
