"""`torch.compile`: what of the models is compiled, when, and what is kept of it for the next start."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from torch._dynamo.utils import counters
from torch.fx.experimental import _config as shape_config

from deployments.config import EngineConfig
from deployments.diffusion.components import Components
from deployments.diffusion.kept_files import keep

logger = logging.getLogger(__name__)

BLOCKS = (BasicTransformerBlock, ResnetBlock2D)
"""Nearly all of a UNet's work. Blocks of equal widths share a graph, so SDXL's 87 need some twenty, whatever the sizes.

diffusers' `compile_repeated_blocks` compiles the first kind only, and nothing of a ControlNet or a VAE.
"""


def compile_models(components: Components, config: EngineConfig) -> None:
    """Marks what is to be compiled; each part is when it first runs. Belongs on the thread that runs the models."""
    if not config.compile:
        return
    # These settings count for the thread that makes them. Past its limits torch would silently compile no more; what
    # is compiled is bounded by the blocks, sizes and buckets here.
    dynamo: Any = torch._dynamo.config
    dynamo.recompile_limit = dynamo.accumulated_recompile_limit = 10_000
    shape_config.use_duck_shape = False  # else a graph that first met a square picture would take square ones only
    torch.compiler.set_stance("default")
    models = [model for model in (components.unet, components.controlnet, components.vae.decoder) if model is not None]
    for model in models:
        if config.compile == "full":
            model.compile(dynamic=False, mode="reduce-overhead" if config.cuda_graphs else None)
            continue
        for block in model.modules():
            if isinstance(block, BLOCKS):
                block.compile(dynamic=True)  # rows, height, width and tokens; widths are those of the weights


def stop_compiling() -> None:
    """From now on, what no graph fits runs eagerly: compiling takes seconds, in which every job would wait."""
    torch.compiler.set_stance("eager_on_recompile")


def graphs_compiled() -> int:
    """Graphs that this process has made so far."""
    return int(counters["stats"]["unique_graphs"])


def kernels_compiled() -> int:
    """Graphs whose kernels this process has made so far, and not read from a cache."""
    return int(counters["inductor"]["fxgraph_cache_miss"])


def artifacts_file(folder: Path, key: str) -> Path:
    """Where the compiled graphs of `key` are kept: everything that they depend on."""
    return folder / f"compiled-{hashlib.sha256(key.encode()).hexdigest()[:16]}.bin"


def load_artifacts(file: Path) -> bool:
    """Gives torch what an earlier start compiled. The file must be as trusted as this code.

    Returns:
        Whether there was anything.
    """
    try:
        content = file.read_bytes()
    except OSError:
        return False
    return torch.compiler.load_cache_artifacts(content) is not None  # torch says so where the file is damaged


def save_artifacts(file: Path) -> None:
    """Keeps what has been compiled."""
    kept = torch.compiler.save_cache_artifacts()
    if kept is not None:
        keep(file, kept[0])
