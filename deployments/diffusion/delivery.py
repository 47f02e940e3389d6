"""Drawn pictures → encoded pictures → the caller, in threads beside the engine's own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import torch

from deployments.contracts import Done, PipelineResponse, Preview
from deployments.diffusion.decoder import DrawnPicture
from deployments.diffusion.request import Request
from deployments.encoding import encode_picture, scaled
from deployments.errors import GenerationFailed, ServiceError
from deployments.masks import with_kept_parts

logger = logging.getLogger(__name__)


class Delivery:
    """Waits for pictures, encodes and posts them. A job whose caller has gone is not encoded."""

    def __init__(self, threads: int, draw_again: Callable[[Request], None]) -> None:
        """`draw_again` takes jobs with a picture that is not finite."""
        self._draw_again = draw_again
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="encode")

    def preview(self, request: Request, index: int, pictures: list[DrawnPicture]) -> None:
        """Posts a preview of each picture of the job."""
        request.previews.append(self._threads.submit(self._preview, request, index, pictures))

    def done(self, request: Request, pictures: list[DrawnPicture]) -> None:
        """Posts the finished pictures."""
        self._threads.submit(self._guarded, request, pictures)

    def close(self, wait: bool) -> None:
        """Takes no more; `wait`: until everything is written, which a device that hangs would never let happen."""
        self._threads.shutdown(wait=wait, cancel_futures=not wait)

    def _guarded(self, request: Request, pictures: list[DrawnPicture]) -> None:
        try:
            if not request.abandoned:
                self._done(request, pictures)
        except torch.AcceleratorError:
            self._put_back(request)  # the engine's thread will find its device broken, and end what is left
        except Exception:
            logger.exception("request %s: a picture could not be written", request.job.request_id)
            request.post(GenerationFailed("The picture could not be written."))

    def _put_back(self, request: Request) -> None:
        try:
            self._draw_again(request)
        except ServiceError as error:  # the engine has stopped
            request.post(error)

    def _preview(self, request: Request, index: int, pictures: list[DrawnPicture]) -> None:
        """Without it the job goes on."""
        try:
            for picture_index, (drawn, seed) in enumerate(zip(pictures, request.job.seeds, strict=True)):
                pixels = None if request.abandoned else drawn.wait()
                if pixels is not None:
                    picture = encode_picture(pixels, request.job.encoding, seed)
                    request.post(Preview(index, picture_index, picture))
        except Exception:
            logger.warning("request %s: a preview could not be written", request.job.request_id, exc_info=True)

    def _done(self, request: Request, pictures: list[DrawnPicture]) -> None:
        previews: list[Future[None]] = request.previews
        wait(previews)  # they were handed to this pool before, so they are written or being written
        finished = [pixels for pixels in (drawn.wait() for drawn in pictures) if pixels is not None]
        request.mark("decode")
        if len(finished) < len(pictures):
            self._put_back(request)
            return
        job = request.job
        encoded = tuple(
            encode_picture(with_kept_parts(scaled(pixels, job.width_px, job.height_px), job), job.encoding, seed)
            for pixels, seed in zip(finished, job.seeds, strict=True)
        )
        request.mark("encode")
        request.post(Done(PipelineResponse(encoded, request.stages_s, request.trajectory.prompt.tokens)))
