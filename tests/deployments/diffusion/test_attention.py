"""The kernel of scaled dot product attention, chosen by shape or named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention
from torch.nn.attention import SDPBackend, sdpa_kernel

from deployments.diffusion.acceleration.attention import (
    KERNELS,
    AttentionShape,
    KernelProcessor,
    choose_kernels,
    fastest_kernel,
)
from deployments.diffusion.components import Components
from deployments.diffusion.engine import DiffusionEngine
from tests.deployments.diffusion.conftest import draw, largest_difference, make_job

CPU = torch.device("cpu")
Build = Callable[..., DiffusionEngine]


@pytest.fixture
def kernels_used(components: Components) -> list[int]:
    """Records, for each attention of the UNet, which kernels torch might use there, the preferred first."""
    used: list[int] = []

    def note(*_: Any) -> None:
        used.append(torch._C._get_sdp_priority_order()[0])

    for layer in components.unet.modules():
        if isinstance(layer, Attention):
            layer.to_out[0].register_forward_pre_hook(note)
    return used


def test_a_named_kernel_is_preferred_and_draws_the_same(
    build_engine: Build,
    components: Components,
    engine: DiffusionEngine,
    kernels_used: list[int],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = draw(engine, make_job())[0]
    named = build_engine(attention="flash", warm_up_sizes=((32, 32),), cache_dir=str(tmp_path))
    named.warm_up()
    kernels_used.clear()
    assert largest_difference(draw(named, make_job())[0], expected) <= 1
    assert set(kernels_used) == {SDPBackend.FLASH_ATTENTION.value}
    layers = [layer for layer in components.unet.modules() if isinstance(layer, Attention)]
    assert all(isinstance(layer.processor, KernelProcessor) for layer in layers)
    assert "not expected" not in caplog.text  # by diffusers, of a processor that takes other arguments
    assert '"kernel": "flash"' in (tmp_path / "measured.json").read_text()


def test_a_kernel_that_can_not_run_here_is_not_used(
    build_engine: Build, components: Components, engine: DiffusionEngine, tmp_path: Path
) -> None:
    """cuDNN's needs a GPU: torch's own choice stays."""
    named = build_engine(attention="cudnn", warm_up_sizes=((32, 32),), cache_dir=str(tmp_path))
    assert largest_difference(draw(named, make_job())[0], draw(engine, make_job())[0]) <= 1
    layers = [layer for layer in components.unet.modules() if isinstance(layer, Attention)]
    assert not any(isinstance(layer.processor, KernelProcessor) for layer in layers)


def test_the_fastest_kernel_is_one_that_runs() -> None:
    shape = AttentionShape(rows=2, heads=2, queries=64, keys=77, features=16)
    assert fastest_kernel(shape, torch.float32, CPU, ["cudnn", "flash", "efficient"]) == "flash"
    assert fastest_kernel(shape, torch.float32, CPU, ["cudnn", "efficient"]) is None


def test_each_layer_is_asked_for_with_the_shape_that_it_computes(components: Components) -> None:
    """Self-attention and cross-attention of a UNet, and the attention over a VAE's pixels."""
    asked: list[AttentionShape] = []

    def run() -> None:
        with torch.inference_mode():
            components.unet(
                torch.zeros(2, 4, 8, 12),
                torch.zeros(2),
                encoder_hidden_states=torch.zeros(2, 77, 64),
                added_cond_kwargs={"text_embeds": torch.zeros(2, 32), "time_ids": torch.zeros(2, 6)},
            )
            components.vae.decode(torch.zeros(1, 4, 8, 12))

    choose_kernels([components.unet, components.vae], run, lambda shape, _: asked.append(shape))
    assert set(asked) == {
        AttentionShape(rows=2, heads=4, queries=24, keys=24, features=16),
        AttentionShape(rows=2, heads=4, queries=24, keys=77, features=16),
        AttentionShape(rows=1, heads=1, queries=96, keys=96, features=32),
    }


def test_a_kernel_gives_way_where_it_can_not_run() -> None:
    order = KernelProcessor(None, KERNELS["cudnn"]).order
    tensor = torch.randn(1, 1, 8, 8)
    with sdpa_kernel(order, set_priority=True):
        torch.nn.functional.scaled_dot_product_attention(tensor, tensor, tensor)
    assert order[0] == SDPBackend.CUDNN_ATTENTION
    assert set(order) == {*KERNELS.values(), SDPBackend.MATH}
