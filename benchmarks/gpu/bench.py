"""What the parts of stages share: the models, the engine, the sizes of the work, and the time that is left."""

from __future__ import annotations

import gc
import math
import time
from typing import Any

import deployments.diffusion  # noqa: F401  (before diffusers and transformers: see there)
from benchmarks.gpu.folders import Folders
from benchmarks.gpu.scale import SDXL, TINY
from benchmarks.gpu.sdxl import build
from deployments.config import CheckpointConfig, EngineConfig
from deployments.diffusion.acceleration.attention import KernelProcessor
from deployments.diffusion.components import Components
from deployments.diffusion.engine import DiffusionEngine

import torch  # isort: skip


class Bench:
    """Lives as long as its process: what a stage has built, the next ones use."""

    def __init__(self, folders: Folders, tiny: bool) -> None:
        self.folders = folders
        self.tiny = tiny
        self.scale = TINY if tiny else SDXL
        self.device = torch.device("cpu" if tiny else "cuda")
        self.dtype = torch.bfloat16
        self.deadline_s = math.inf
        self._components: Components | None = None
        self._engine: DiffusionEngine | None = None
        self.compiles = True
        """Whether `engine` has compiled blocks."""

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def left_s(self) -> float:
        """Seconds until the stage is ended from outside."""
        return self.deadline_s - time.monotonic()

    @property
    def components(self) -> Components:
        """SDXL with a ControlNet; built when it is first asked for."""
        if self._components is None:
            folder = self.folders.work / f"tokenizer-{time.monotonic_ns()}"
            self._components = build(folder, self.device, self.dtype, self.tiny)
        return self._components

    @property
    def engine(self) -> DiffusionEngine:
        """The engine with compiled blocks; made when it is first asked for, and the same until the process ends.

        Where that fails, whoever asked first gets the error, and the others an eager engine.
        """
        if self._engine is None:
            compiles, self.compiles = self.compiles, False
            self.forget_engine()
            self._engine = self.make_engine(compile=compiles)
            self.compiles = compiles
        return self._engine

    def make_engine(self, components: Components | None = None, **settings: Any) -> DiffusionEngine:
        """An engine of its own over `components`, warmed up. It changes them in place."""
        made = components or self.components
        engine = DiffusionEngine(CheckpointConfig(path="random"), self.config(**settings), load=lambda *_: made)
        engine.warm_up()
        return engine

    def close(self) -> None:
        """Ends the engine."""
        if self._engine is not None:
            self._engine.close()

    def forget_components(self) -> None:
        """Frees the memory of the device for another process."""
        self._components = None
        self.free()

    def free(self) -> None:
        """Gives the memory of what nobody refers to back to the device."""
        gc.collect()
        if self.on_gpu:
            torch.cuda.empty_cache()

    def forget_engine(self) -> None:
        """Takes away what an engine has compiled, and chosen for attention layers, so that another one can do so."""
        for model in (self.components.unet, self.components.controlnet, self.components.vae):
            for layer in model.modules():
                layer._compiled_call_impl = None
                if isinstance(getattr(layer, "processor", None), KernelProcessor):
                    layer.processor = layer.processor.processor

    def config(self, **settings: Any) -> EngineConfig:
        """As `serve_config.yaml` has it for a GPU."""
        edge_px = self.scale.edge_px
        values: dict[str, Any] = {"fuse_qkv": True, "channels_last": True, "warm_up_sizes": ((edge_px, edge_px),)}
        values |= {"cache_dir": str(self.folders.engine_cache)}
        if self.tiny:  # what a GPU has by default
            rows = 2 * self.scale.batch
            values |= {"budget": rows * (edge_px // self.latent_scale) ** 2, "row_buckets": (2, rows)}
        return EngineConfig(**(values | settings))

    @property
    def latent_scale(self) -> int:
        return 2 if self.tiny else 8

    @property
    def latents(self) -> tuple[int, int]:
        """Height and width of a picture's latents."""
        edge = self.scale.edge_px // self.latent_scale
        return edge, edge

    def synchronize(self) -> None:
        """Waits for the device; raises when it is broken."""
        if self.on_gpu:
            torch.cuda.synchronize()
