"""Linear layers in 8 bits: what is refused, and what is left as it is."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
import torch

from deployments.diffusion.acceleration.fp8 import is_quantized, quantize_linears
from deployments.diffusion.components import Components
from deployments.diffusion.engine import DiffusionEngine

CPU = torch.device("cpu")
Build = Callable[..., DiffusionEngine]


def test_fp8_without_its_gpu_is_refused_at_the_start(build_engine: Build) -> None:
    with pytest.raises(ValueError, match=r"needs a GPU of compute capability 8\.9 or newer; the device is cpu"):
        build_engine(quantize="fp8").warm_up()


def test_fp8_without_torchao_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setitem(sys.modules, "torchao", None)
    with pytest.raises(ImportError, match="needs the package torchao"):
        quantize_linears([], torch.device("cuda"))


def test_fp8_leaves_the_layers_of_the_timestep_in_sixteen_bits(components: Components) -> None:
    quantized = {name for name, layer in components.unet.named_modules() if is_quantized(layer, name)}
    assert any(name.endswith("ff.net.2") for name in quantized)
    assert any(name.endswith("attn1.to_q") for name in quantized)
    assert any(name.endswith("proj_in") for name in quantized)
    assert not any("time" in name or "add_embedding" in name or "conv" in name for name in quantized)
