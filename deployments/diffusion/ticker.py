"""One tick of the engine: what the device's thread does over and over."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import torch

from deployments.config import EngineConfig
from deployments.contracts import Progress
from deployments.diffusion.acceleration.compilation import graphs_compiled
from deployments.diffusion.backlog import Backlog
from deployments.diffusion.components import Components
from deployments.diffusion.decoder import Decoder
from deployments.diffusion.delivery import Delivery
from deployments.diffusion.denoiser import Denoiser
from deployments.diffusion.device_time import StepClock
from deployments.diffusion.optimize import optimize
from deployments.diffusion.prompts import Embedding, PromptEncoder
from deployments.diffusion.request import Request, deadline_exceeded
from deployments.diffusion.start import begin, embed
from deployments.diffusion.warm_up import WarmUp, budget_of
from deployments.engine_stats import EngineStats
from deployments.errors import GenerationFailed, ServiceError

logger = logging.getLogger(__name__)

GROWTH_TICKS = 200
"""After so many ticks without running out of memory, a budget that was halved is doubled again."""


class Ticker:
    """Advances the jobs of a backlog. A job's own error ends that job; a broken device ends everything."""

    def __init__(
        self, components: Components, config: EngineConfig, backlog: Backlog, prompts: PromptEncoder, delivery: Delivery
    ) -> None:
        self.limit = config.budget
        """Most rows x latent pixels that a forward pass can have, where that is known: more never fits."""
        self.stats = EngineStats(budget=budget_of(components, config))
        self._config = config
        self._components = components
        self._backlog = backlog
        self._prompts = prompts
        self._delivery = delivery
        self._denoiser = Denoiser(components, config, self.stats)
        self._decoder = Decoder(components, config, self.stats)
        self._clock = StepClock(components.device)
        self._graphs = 0  # that the warm-up compiled
        self._full_budget = self.stats.budget
        self._grows_at_tick = 0

    def warm_up(self) -> None:
        """Makes the models and their kernels ready for the configured picture sizes."""
        optimize(self._components, self._config)
        self.limit = WarmUp(self._components, self._config, self._denoiser, self._decoder).run()
        self._full_budget = self.stats.budget = min(self.stats.budget, self.limit or self.stats.budget)
        self._graphs = graphs_compiled()

    def tick(self) -> bool:
        """Drops jobs, advances those that are due by one step, decodes some that are drawn.

        Not all of them: sixteen decodes would hold up the next step, and then hand over sixteen pictures at once.

        Returns:
            Whether there was anything to do.
        """
        self._drop()
        if self.stats.budget < self._full_budget and self.stats.ticks >= self._grows_at_tick:
            self.stats.budget = min(self._full_budget, 2 * self.stats.budget)
            self._grows_at_tick = self.stats.ticks + GROWTH_TICKS
        requests = self._backlog.select(self.stats.budget)
        if requests:
            self._draw(requests)
        drawn = self._backlog.drawn(self._config.decode_batch)
        for request in drawn:
            self._together([request], self._finish)
        return bool(requests or drawn)

    def _draw(self, requests: list[Request]) -> None:
        """One step of jobs of one shape."""
        fresh = [each for each in requests if not each.trajectory.begun]
        for request in fresh:
            request.mark("queue")
        self._together(fresh, self._begin)
        requests = [each for each in requests if each.trajectory.begun]
        self._clock.start()
        self._together(requests, self._advance)
        timed = self._clock.stop(sum(each.trajectory.cost for each in requests))
        if timed is not None and timed[0]:
            self._backlog.measured(*timed)
        self.stats.ticks += 1
        self.stats.rows = sum(each.trajectory.rows for each in requests)
        self.stats.recompiles = graphs_compiled() - self._graphs
        for request in requests:
            if request.trajectory.finished:
                request.mark("denoise")

    def _drop(self) -> None:
        """Ends the jobs that nobody waits for."""
        requests = self._backlog.requests()
        for request in requests:
            if request.abandoned:
                self._backlog.remove(request)
                self.stats.cancelled += 1
            elif request.overdue:
                self._backlog.remove(request)
                self.stats.overdue += 1
                request.post(deadline_exceeded())
        self.stats.running = sum(each.trajectory.begun for each in requests)
        self.stats.waiting = len(requests) - self.stats.running

    def _begin(self, requests: list[Request]) -> None:
        trajectories = [each.trajectory for each in requests]
        embeddings = embed(trajectories, self._components, self._prompts)
        for request, rows in zip(requests, embeddings, strict=True):
            self._together([request], partial(self._begin_one, rows))
            request.mark("encode_prompt")

    def _begin_one(self, rows: list[Embedding], requests: list[Request]) -> None:
        (request,) = requests
        begin(request.trajectory, rows, self._components)

    def _advance(self, requests: list[Request]) -> None:
        predictions = self._predict(requests)
        for request, prediction in zip(requests, predictions, strict=True):
            self._together([request], partial(self._step, prediction))

    def _predict(self, requests: list[Request]) -> list[torch.Tensor]:
        """The forward pass; when the device has no memory for it, again with half the rows."""
        trajectories = [each.trajectory for each in requests]
        pixels = trajectories[0].shape.pixels
        while True:
            rows_per_pass = max(1, self.stats.budget // pixels)
            try:
                return self._denoiser.predict(trajectories, rows_per_pass)
            except torch.OutOfMemoryError:
                self.stats.out_of_memory += 1
                rows = min(rows_per_pass, sum(each.rows for each in trajectories))
                if rows == 1:
                    raise
                self.stats.budget = rows // 2 * pixels
                self._grows_at_tick = self.stats.ticks + GROWTH_TICKS
                logger.warning("out of memory with %d rows of %d latent pixels; budget halved", rows, pixels)
            torch.cuda.empty_cache()

    def _step(self, prediction: torch.Tensor, requests: list[Request]) -> None:
        (request,) = requests
        trajectory = request.trajectory
        trajectory.advance(prediction)
        request.post(Progress(trajectory.step_index, trajectory.steps))
        wanted = request.job.previews
        if wanted and not trajectory.finished:
            due = [round(trajectory.steps * (index + 1) / (wanted + 1)) for index in range(wanted)]
            if trajectory.step_index in due:
                self._preview(request, due.index(trajectory.step_index))

    def _preview(self, request: Request, index: int) -> None:
        """Without it, such as for lack of memory, the job goes on."""
        try:
            self._delivery.preview(request, index, self._decoder.preview(request.trajectory.estimate))
        except Exception:
            if self._device_is_broken():
                raise
            logger.warning("request %s: a preview could not be drawn", request.job.request_id, exc_info=True)

    def _finish(self, requests: list[Request]) -> None:
        (request,) = requests
        if request.not_finite > 1:
            raise GenerationFailed("The model drew no valid picture for this job.")
        in_fp32 = request.not_finite == 1
        self.stats.nan_retries += in_fp32
        pictures = self._decoder.decode(request.trajectory.latents, in_fp32)
        self._backlog.remove(request)
        self.stats.finished += not in_fp32
        self._delivery.done(request, pictures)

    def _together(self, requests: list[Request], action: Callable[[list[Request]], None]) -> None:
        """Does `action` for all jobs at once; when that fails, for each alone, so that a bad job harms only itself."""
        if not requests:
            return
        try:
            action(requests)
        except Exception as error:
            if isinstance(error, torch.AcceleratorError) or self._device_is_broken():
                raise
            if len(requests) == 1:
                self._fail(requests[0], error)
                return
        else:
            return
        for request in requests:
            self._together([request], action)

    def _fail(self, request: Request, error: Exception) -> None:
        self._backlog.remove(request)
        self.stats.failed += 1
        logger.error("request %s failed", request.job.request_id, exc_info=error)
        request.post(error if isinstance(error, ServiceError) else GenerationFailed("The picture could not be drawn."))

    def _device_is_broken(self) -> bool:
        """Whether nothing can be computed any more: after a kernel's failure every later call fails like it."""
        try:
            if self._components.device.type == "cuda":
                torch.cuda.synchronize()
        except RuntimeError:
            return True
        return False
