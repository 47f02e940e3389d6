"""What SDXL needs of a GPU's memory, computed without one: its parameters, and the tensors that live at the same time.

python -m benchmarks.memory [--edge 1024]

The engine's passes run on torch's meta device, eager and in 16 bits, where a tensor has a size and no storage. Not
counted are fragments and what convolutions and attention kernels take for themselves: the engine measures the real need
at its first start.
"""

from __future__ import annotations

import argparse
import tempfile
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu.sdxl import build
from benchmarks.report import report
from deployments.config import EngineConfig
from deployments.diffusion.components import Components
from deployments.diffusion.denoiser import Denoiser
from deployments.diffusion.memory import RESERVE
from deployments.engine_stats import EngineStats

import torch  # isort: skip  (after deployments.diffusion: see there)
from torch.overrides import TorchFunctionMode  # isort: skip
from torch.utils._python_dispatch import TorchDispatchMode  # isort: skip
from torch.utils._pytree import tree_leaves  # isort: skip

CARDS_GB = (24, 48, 80, 141)
CUDA_GB = 0.6
"""Taken by CUDA and its libraries before the first tensor: assumed, not measured."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=int, default=1024, help="of the pictures, in pixels")
    options = parser.parse_args()
    meta = torch.device("meta")
    with tempfile.TemporaryDirectory() as folder:
        components = build(Path(folder) / "tokenizer", meta, torch.bfloat16, tiny=False)
    edge = options.edge // components.latent_scale
    rehearse = partial(Denoiser(components, EngineConfig(), EngineStats()).rehearse, height=edge, width=edge)
    latents = torch.zeros(1, components.vae.config.latent_channels, edge, edge, device=meta, dtype=components.vae.dtype)
    rows = []
    for title, posed in (("without a ControlNet", False), ("with one", True)):
        weights_gb = _weights_gb(components, posed)
        row_gb = (_most_gb(partial(rehearse, 4, posed=posed)) - _most_gb(partial(rehearse, 2, posed=posed))) / 2
        row: dict[str, Any] = {"SDXL": title, "weights GB": weights_gb, "a UNet row GB": row_gb}
        row["a decode GB"] = _most_gb(partial(components.vae.decode, latents))
        for card_gb in CARDS_GB:
            row[f"rows on {card_gb} GB"] = int((card_gb - CUDA_GB - weights_gb) * (1 - RESERVE) / row_gb)
        rows.append(row)
    report("memory", rows, {"edge px": options.edge, "CUDA itself GB, assumed": CUDA_GB, "kept free": RESERVE})


def _weights_gb(components: Components, posed: bool) -> float:
    models = [model for model in components.text_to_image.components.values() if isinstance(model, torch.nn.Module)]
    models += [components.controlnet] if posed else []
    return float(sum(weight.nbytes for model in models for weight in model.parameters())) / 1e9


def _most_gb(action: Callable[[], object]) -> float:
    """The most memory of tensors that live at the same time while `action` runs, without those that it is given."""
    with torch.inference_mode(), _FusedAttention(), _Living() as living:
        action()
        most_bytes: int = living.most_bytes
    return most_bytes / 1e9


class _Living(TorchDispatchMode):
    """Counts the storages that operations make, until nobody refers to them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most_bytes = 0
        self._bytes: dict[int, int] = {}

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves(output):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return output

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._bytes:
            self._bytes[key] = storage.nbytes()
            self.most_bytes = max(self.most_bytes, sum(self._bytes.values()))
            weakref.finalize(storage, self._bytes.pop, key)


class _FusedAttention(TorchFunctionMode):
    """Attention as a GPU's kernels compute it, which never hold the whole attention matrix."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.nn.functional.scaled_dot_product_attention:
            return torch.empty_like(args[0])
        return function(*args, **(kwargs or {}))


if __name__ == "__main__":
    main()
