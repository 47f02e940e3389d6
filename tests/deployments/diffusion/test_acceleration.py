"""What makes the models fast changes no picture, and says clearly what it can't do."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import LMSDiscreteScheduler
from diffusers.models.attention_processor import Attention
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel

from deployments.config import EngineConfig
from deployments.diffusion.acceleration.attention import (
    KERNELS,
    AttentionShape,
    KernelProcessor,
    choose_kernels,
    fastest_kernel,
)
from deployments.diffusion.acceleration.fp8 import is_quantized, quantize_linears
from deployments.diffusion.acceleration.row_buckets import passes
from deployments.diffusion.components import Components
from deployments.diffusion.decoder import DrawnPicture
from deployments.diffusion.delivery import Delivery
from deployments.diffusion.device_time import StepClock
from deployments.diffusion.engine import DiffusionEngine
from deployments.diffusion.request import Request
from deployments.errors import ReplicaUnfit
from tests.deployments.diffusion.conftest import draw, largest_difference, make_job

CPU = torch.device("cpu")
Build = Callable[..., DiffusionEngine]


# Row buckets


@given(
    rows=st.integers(1, 40),
    most=st.integers(1, 24),
    buckets=st.lists(st.integers(1, 16), unique=True, max_size=5),
    seed=st.integers(0, 9),
)
def test_passes_hold_all_rows_and_no_more_than_fits(rows: int, most: int, buckets: list[int], seed: int) -> None:
    seconds = {bucket: random.Random(seed + bucket).random() + 0.1 for bucket in buckets}
    cut = passes(rows, most, buckets, seconds)
    assert sum(count for count, _ in cut) == rows
    assert all(0 < count <= padded for count, padded in cut)
    assert all(padded in (buckets or [count]) for count, padded in cut)
    assert all(padded <= max(most, min(buckets, default=0)) for _, padded in cut)


@pytest.mark.parametrize(
    ("rows", "seconds", "expected"),
    [
        (10, None, [(8, 8), (2, 2)]),  # a bucket of 16 would be six rows for nothing
        (7, None, [(7, 8)]),  # as little is padded in one pass as in three
        (10, {2: 9, 4: 10, 8: 11, 16: 12}, [(10, 16)]),  # small pictures: each pass costs more than its rows
        (10, {2: 2, 4: 4, 8: 8, 16: 15}, [(8, 8), (2, 2)]),
        (16, {2: 2, 4: 4, 8: 8, 16: 15}, [(16, 16)]),
    ],
)
def test_rows_are_cut_into_the_passes_that_are_fastest_together(
    rows: int, seconds: dict[int, float] | None, expected: list[tuple[int, int]]
) -> None:
    assert passes(rows, 16, (2, 4, 8, 16), seconds) == expected


def test_padded_passes_draw_the_same_and_are_counted(build_engine: Build, engine: DiffusionEngine) -> None:
    padded = build_engine(budget=16 * 16 * 16, row_buckets=(4, 16), warm_up_sizes=((32, 32),))
    padded.warm_up()
    assert padded.stats.padded_rows == padded.stats.unrehearsed == 0
    assert largest_difference(draw(padded, make_job())[0], draw(engine, make_job())[0]) <= 1
    assert padded.stats.padded_rows == 2 * 4  # two rows more in each of four steps
    assert padded.stats.unrehearsed == 0
    draw(padded, make_job(render_width_px=48, steps=2))
    assert padded.stats.unrehearsed == 1


def test_a_warm_up_measures_the_passes_of_every_bucket(build_engine: Build) -> None:
    engine = build_engine(budget=8 * 16 * 16, row_buckets=(2, 8, 16), warm_up_sizes=((32, 32), (64, 32)))
    engine.warm_up()
    measured = engine._ticker._denoiser.pass_seconds
    assert {size: set(seconds) for size, seconds in measured.items()} == {(16, 16): {2, 8}, (16, 32): {2}}
    assert all(value > 0 for seconds in measured.values() for value in seconds.values())


# Attention


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


# FP8


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


# Pictures that the device still draws


class BrokenDevice:
    """An event of a device that has failed."""

    def synchronize(self) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_device_that_breaks_while_it_draws_loses_no_job(is_closed: bool) -> None:
    """The job goes back to the engine, whose thread finds the device broken; or the engine has ended already."""
    put_back = []

    def draw_again(request: Request) -> None:
        if is_closed:
            raise ReplicaUnfit("The replica's device has failed.")
        put_back.append(request)

    async def deliver() -> Request:
        trajectory: Any = None  # is not looked at
        request = Request(make_job(), trajectory)
        event: Any = BrokenDevice()
        picture = DrawnPicture(torch.zeros(8, 8, 3, dtype=torch.uint8), torch.tensor(True), event)
        delivery = Delivery(1, draw_again)
        delivery.preview(request, 0, [picture])  # is left out
        delivery.done(request, [picture])
        await asyncio.to_thread(delivery.close, wait=True)
        if is_closed:
            with pytest.raises(ReplicaUnfit):
                await request.receive()
        return request

    request = asyncio.run(deliver())
    assert put_back == ([] if is_closed else [request])


# The rest


def test_remembered_lms_coefficients_are_diffusers_own(components: Components) -> None:
    own, theirs = (
        components.scheduler("lms"),
        LMSDiscreteScheduler.from_config(components.text_to_image.scheduler.config),
    )
    for steps in (4, 7, 4):
        own.set_timesteps(steps)
        theirs.set_timesteps(steps)
        for step in range(steps):
            for order in range(1, min(step + 1, 4) + 1):
                for current in range(order):
                    assert own.get_lms_coefficient(order, step, current) == pytest.approx(
                        theirs.get_lms_coefficient(order, step, current)
                    )


def test_a_clock_without_a_gpu_times_the_step_itself() -> None:
    clock = StepClock(CPU)
    clock.start()
    timed = clock.stop(cost=12)
    assert timed is not None
    assert timed[0] == 12
    assert 0 <= timed[1] < 60


def test_graphs_without_whole_models_are_refused() -> None:
    with pytest.raises(ValueError, match="cuda_graphs needs compile: full; compile is True"):
        EngineConfig(compile=True, cuda_graphs=True)
