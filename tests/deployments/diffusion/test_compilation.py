"""Compiled models draw what eager ones draw, whatever comes, and compile nothing while they serve.

With inductor's own kernels: on a CPU they are made by a C++ compiler.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from deployments.config import CheckpointConfig, EngineConfig
from deployments.diffusion.acceleration.compilation import load_artifacts
from deployments.diffusion.engine import DiffusionEngine
from deployments.jobs import ImageEditJob, Job, PoseControlJob
from tests.deployments.diffusion.conftest import (
    draw,
    half_mask,
    largest_difference,
    make_job,
    pixels_of,
    random_picture,
    respond,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of torch's compiler


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`torch`: what torch's compiler writes; `kept`: what the engine keeps."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def config(folder: Path) -> EngineConfig:
    """Blocks compiled for the passes of 32 x 32 pixels, with 2 to 8 rows."""
    return EngineConfig(
        budget=8 * 16 * 16,
        compile=True,
        channels_last=True,
        fuse_qkv=True,
        attention="flash",
        row_buckets=(2, 4, 8),
        warm_up_sizes=((32, 32),),
        cache_dir=str(folder / "kept"),
    )


@pytest.fixture(scope="module")
def compiled(checkpoint: CheckpointConfig, config: EngineConfig, folder: Path) -> Iterator[DiffusionEngine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder / "torch"))
        engine = DiffusionEngine(checkpoint, config)
        engine.warm_up()
        yield engine
        engine.close()
    torch.compiler.set_stance("default")


def jobs() -> dict[str, Job]:
    picture = random_picture()
    return {
        "text": make_job(),
        "without guidance": make_job(seeds=(1, 2, 3), guidance_scale=1),
        "edit": make_job(ImageEditJob, image=picture, strength=0.8),
        "mask": make_job(ImageEditJob, image=picture, strength=0.8, mask=half_mask()),
        "pose": make_job(PoseControlJob, image=picture, skeleton=picture, controlnet_scale=1.0),
        "another size": make_job(render_width_px=48),
        "a long prompt": make_job(prompt="a red cat on the blue house " * 5),
        "a long prompt and another size": make_job(render_height_px=64, prompt="a red cat on the blue house " * 5),
    }


@pytest.mark.parametrize("name", jobs())
def test_compiled_models_draw_what_eager_ones_draw(
    compiled: DiffusionEngine, engine: DiffusionEngine, name: str
) -> None:
    job = jobs()[name]
    # At the rehearsed size nothing may run eagerly, unseen. At others torch's convolutions for CPUs may be of another
    # kind, by their size, and then their blocks do.
    torch.compiler.set_stance("eager_on_recompile" if "size" in name else "fail_on_recompile")
    try:
        drawn = draw(compiled, job)
    finally:
        torch.compiler.set_stance("eager_on_recompile")
    for one, other in zip(drawn, draw(engine, job), strict=True):
        assert largest_difference(one, other) <= 1
    assert compiled.stats.recompiles == 0


def test_a_crowd_that_comes_and_goes_compiles_nothing(compiled: DiffusionEngine, engine: DiffusionEngine) -> None:
    """Rows of all tasks join and leave at any step; one job leaves in the middle."""
    padded = compiled.stats.padded_rows

    async def join(ticks: int, job: Job) -> Any:
        await wait_until(lambda: compiled.stats.ticks >= ticks)
        return pixels_of(await respond(compiled, job))

    async def everyone() -> list[Any]:
        started = compiled.stats.ticks
        leaves = asyncio.create_task(respond(compiled, make_job(steps=1000)))
        drawn = await asyncio.gather(*(join(started + 2 * n, job) for n, job in enumerate(jobs().values())))
        leaves.cancel()
        return drawn

    for job, drawn in zip(jobs().values(), asyncio.run(everyone()), strict=True):
        for one, other in zip(drawn, draw(engine, job), strict=True):
            assert largest_difference(one, other) <= 1
    assert compiled.stats.recompiles == 0
    assert compiled.stats.padded_rows > padded


def test_sizes_that_were_not_rehearsed_run_through_the_same_graphs(compiled: DiffusionEngine) -> None:
    unet = compiled._components.unet
    unrehearsed = compiled.stats.unrehearsed
    profile = torch.profiler.profile()  # sees the thread that starts it, so the engine's starts it
    hooks = [
        unet.register_forward_pre_hook(lambda *_: profile.start()),
        unet.register_forward_hook(lambda *_: profile.stop()),
    ]
    draw(compiled, make_job(render_width_px=80, steps=1, prompt="a red cat on the blue house " * 5))
    for hook in hooks:
        hook.remove()
    events = profile.events()  # type: ignore[no-untyped-call]
    graphs = [event.name for event in events if event.name.startswith("Torch-Compiled Region")]
    blocks = [module for module in unet.modules() if module._compiled_call_impl is not None]
    assert len(graphs) == len(blocks) > 0
    assert compiled.stats.unrehearsed == unrehearsed + 1
    assert compiled.stats.recompiles == 0


START = """
import json, sys
from deployments.config import CheckpointConfig, EngineConfig
from deployments.diffusion.engine import DiffusionEngine
from torch._dynamo.utils import counters

checkpoint = CheckpointConfig.model_validate_json(sys.argv[1])
config = EngineConfig.model_validate_json(sys.argv[2])
engine = DiffusionEngine(checkpoint, config)
engine.warm_up()
engine.close()
made, kept = counters["inductor"]["fxgraph_cache_miss"], counters["aot_autograd"]["autograd_cache_hit"]
print(json.dumps({"made": made, "kept": kept}))
"""


def test_a_second_start_compiles_nothing(
    compiled: DiffusionEngine, checkpoint: CheckpointConfig, config: EngineConfig, folder: Path
) -> None:
    """No kernel is made: all come from the engine's file. torch's own folder only has what a C++ compiler made."""
    own = folder / "torch again"
    shutil.copytree(folder / "torch", own, ignore=shutil.ignore_patterns("fxgraph", "aotautograd"))
    assert (folder / "torch" / "fxgraph").is_dir()
    command = [sys.executable, "-c", START, checkpoint.model_dump_json(), config.model_dump_json()]
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(own)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    counted = json.loads(ended.stdout.splitlines()[-1])
    assert counted["made"] == 0
    assert counted["kept"] > 8


def test_kept_graphs_that_can_not_be_read_are_none(tmp_path: Path) -> None:
    file = tmp_path / "compiled.bin"
    assert not load_artifacts(file)
    file.write_bytes(b"damaged")
    assert not load_artifacts(file)
