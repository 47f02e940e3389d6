"""Pictures that the device still draws when they are handed over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import torch

from deployments.diffusion.decoder import DrawnPicture
from deployments.diffusion.delivery import Delivery
from deployments.diffusion.engine import DiffusionEngine
from deployments.diffusion.request import Request
from deployments.errors import ReplicaUnfit
from tests.deployments.diffusion.conftest import make_job

CPU = torch.device("cpu")
Build = Callable[..., DiffusionEngine]


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
