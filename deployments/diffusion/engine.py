"""The diffusion engine: continuous batching at the level of denoising steps.

One thread owns the device and repeats a tick:

    admit    take new jobs in; drop those that nobody waits for
    forward  one UNet call for all rows of the jobs that are due, a timestep each
    step     each job's own scheduler advances its own latents
    finish   decode finished latents together; encoding goes to a thread pool

Jobs join and leave at any tick, so a short job does not wait for a long one, and a cancelled one is gone within a step.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from functools import partial
from typing import TypeAlias

import torch

from deployments.config import CheckpointConfig, EngineConfig
from deployments.contracts import Done, Event, Queued
from deployments.cores import encoder_threads, usable_cores
from deployments.diffusion.backlog import Backlog
from deployments.diffusion.components import Components, load_components
from deployments.diffusion.delivery import Delivery
from deployments.diffusion.prompts import PromptEncoder
from deployments.diffusion.request import Request
from deployments.diffusion.start import plan
from deployments.diffusion.ticker import Ticker
from deployments.engine_stats import EngineStats
from deployments.errors import JobTooLarge, ReplicaUnfit
from deployments.jobs import Job

logger = logging.getLogger(__name__)

Loader: TypeAlias = Callable[[CheckpointConfig, str | None], Components]
IDLE_HEARTBEAT_S = 1.0


class DiffusionEngine:
    """Draws jobs with one checkpoint on one device; see `deployments.contracts.Engine`."""

    def __init__(
        self, checkpoint: CheckpointConfig, config: EngineConfig | None = None, load: Loader = load_components
    ) -> None:
        """Loads the checkpoint and starts to warm up; jobs are taken at once and wait until it is done.

        The warm-up changes the loaded models in place. `load` may hand out models that others use as well, but they
        must not use them before `warm_up` has returned.

        Raises:
            CheckpointError: the checkpoint can't be loaded.
        """
        config = config or EngineConfig()
        self._heartbeat_timeout_s = config.heartbeat_timeout_s
        self._heartbeat_s = time.monotonic()
        self._stopping = self._stopped = False
        self._loaded: Future[Components] = Future()
        self._built = threading.Event()
        self._warmed_up: Future[None] = Future()
        # The models are loaded where they run. On a CPU each thread that computes gets OpenMP threads of its own, and
        # where there are more of them than cores, none may spin while it waits for its next part of the work.
        loading = partial(load, checkpoint, config.preview_decoder)
        self._thread = threading.Thread(target=self._run, args=(loading,), name="engine", daemon=True)
        self._thread.start()
        self._components = self._loaded.result()
        self._prompts = PromptEncoder(
            self._components.text_to_image, checkpoint.max_prompt_chunks, config.prompt_cache_bytes
        )
        self._backlog = Backlog(config.overtaking)
        threads = config.encoder_threads or encoder_threads(usable_cores())
        self._delivery = Delivery(threads, self._backlog.put_back)
        self._ticker = Ticker(self._components, config, self._backlog, self._prompts, self._delivery)
        self._built.set()

    def warm_up(self) -> None:
        """Returns when the kernels for the configured picture sizes are ready.

        Raises:
            Exception: what made the warm-up fail.
        """
        self._warmed_up.result()

    @property
    def stats(self) -> EngineStats:
        """What the engine has counted so far."""
        return self._ticker.stats

    async def submit(self, job: Job) -> AsyncGenerator[Event, None]:
        """Runs `job` and yields its events, `Done` last. Closing or cancelling the generator drops the job.

        Raises:
            JobError: the job can't be done as ordered; `JobTooLarge`, `PromptTooLong` and others.
            DeadlineExceeded: its deadline passed.
            GenerationFailed: it failed; the engine goes on.
            ReplicaUnfit: the engine is shutting down or its device failed.
        """
        trajectory = plan(job, self._components, self._prompts)
        limit = self._ticker.limit
        if limit is not None and trajectory.shape.pixels > limit:
            size = f"{job.render_width_px}x{job.render_height_px}"
            raise JobTooLarge(f"size {size} is more than this server can draw.", "size")
        request = Request(job, trajectory)
        try:
            yield Queued(self._backlog.add(request))
            while True:
                event = await request.receive()
                yield event
                if isinstance(event, Done):
                    return
        finally:
            request.abandoned = True

    def check_health(self) -> None:
        """Raises `ReplicaUnfit` when the engine can no longer draw."""
        if self._stopped:
            raise ReplicaUnfit("The engine has stopped.")
        silent_s = time.monotonic() - self._heartbeat_s
        if silent_s > self._heartbeat_timeout_s:
            raise ReplicaUnfit(f"The engine has not finished a step for {silent_s:.0f} s.")

    def close(self, grace_s: float = 0.0) -> None:
        """Refuses new jobs, lets the others finish within `grace_s`, then stops.

        Unfinished jobs end with `ReplicaUnfit`; finished pictures are still handed over.
        """
        self._backlog.close("The replica is shutting down.")
        self._backlog.wait_until_empty(grace_s)
        self._stopping = True
        self._thread.join(self._heartbeat_timeout_s)  # a thread that is silent for longer has no device any more
        self._delivery.close(wait=not self._thread.is_alive())

    def _run(self, load: Callable[[], Components]) -> None:
        try:
            self._loaded.set_result(load())
        except BaseException as error:
            self._loaded.set_exception(error)
        else:
            self._built.wait()
            self._serve()

    @torch.inference_mode()
    def _serve(self) -> None:
        try:
            if self._components.device.index is not None:
                torch.cuda.set_device(self._components.device)  # for this thread: its memory, its events
            self._ticker.warm_up()
            self._warmed_up.set_result(None)
            while not self._stopping:
                self._heartbeat_s = time.monotonic()
                if not self._ticker.tick():
                    self._backlog.wait_for_work(IDLE_HEARTBEAT_S)
        except Exception as error:
            logger.exception("the engine has stopped")
            if not self._warmed_up.done():
                self._warmed_up.set_exception(error)
        finally:
            self._stopped = True
            self._backlog.close("The replica's device has failed.")
            for request in self._backlog.requests():
                self._backlog.remove(request)
                request.post(ReplicaUnfit("The replica can't finish this job."))
