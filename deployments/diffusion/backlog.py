"""Which jobs take part in the next forward pass, and in the next decode."""

from __future__ import annotations

import threading

from deployments.diffusion.request import Request
from deployments.diffusion.trajectory import Shape
from deployments.errors import ReplicaUnfit

IN_TIME = 1.5
"""How much of its work's time a job has left, in shares, when it must begin to be done by its deadline."""


class Backlog:
    """All unfinished jobs, begun or not. Any thread may add; the engine's thread selects.

    A job that waits between two steps holds only its latents and embeddings, so any job may pause at any tick. Each
    tick runs the job that is due first, with as many others of its shape as fit into the budget, in the same order.

    A job is due at: when it came + `overtaking` x the work it still needs, in seconds. So a shorter job overtakes a
    longer one, but only one that came up to `overtaking` x the difference of their work before it. What comes later
    than that, whatever its shape, can only fill a pass up that runs before anyway; so no job and no shape starves.
    When the time until its deadline is `IN_TIME` x its work, nothing overtakes a job any more. Among equal jobs it is
    first come, first served. Shortest work first gives the least mean waiting time.
    """

    def __init__(self, overtaking: float) -> None:
        self.seconds_per_cost = 0.0
        """Measured time of one step of one UNet row of one latent pixel; it turns work into seconds."""
        self._overtaking = overtaking
        self._requests: dict[Request, None] = {}  # in the order they came
        self._changed = threading.Condition()
        self._closed: str | None = None

    def __len__(self) -> int:
        return len(self._requests)

    def add(self, request: Request) -> int:
        """Takes a job in.

        Returns:
            How many jobs are before it.

        Raises:
            ReplicaUnfit: the backlog is closed.
        """
        with self._changed:
            if self._closed is not None:
                raise ReplicaUnfit(self._closed)
            due = self._due_s(request)
            position = sum(self._due_s(other) <= due for other in self._requests)
            self._requests[request] = None
            self._changed.notify_all()
        return position

    def put_back(self, request: Request) -> None:
        """Takes a job in again whose pictures were not finite.

        Raises:
            ReplicaUnfit: the backlog is closed.
        """
        request.not_finite += 1
        self.add(request)

    def remove(self, request: Request) -> None:
        with self._changed:
            self._requests.pop(request, None)
            self._changed.notify_all()

    def requests(self) -> list[Request]:
        with self._changed:
            return list(self._requests)

    def wait_for_work(self, timeout_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._requests or self._closed is not None, timeout_s)

    def wait_until_empty(self, timeout_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._requests, timeout_s)

    def close(self, reason: str) -> None:
        """Refuses new jobs from now on, with `reason`."""
        with self._changed:
            self._closed = self._closed or reason
            self._changed.notify_all()

    def measured(self, cost: int, seconds: float) -> None:
        """Learns from one tick how long work takes."""
        sample = seconds / cost
        self.seconds_per_cost += (sample - self.seconds_per_cost) * (0.1 if self.seconds_per_cost else 1.0)

    def select(self, budget: int) -> list[Request]:
        """The jobs of the next tick, all of one shape: rows x latent pixels within `budget`, but at least one job."""
        chosen: list[Request] = []
        shape: Shape | None = None
        undrawn = [request for request in self.requests() if not request.trajectory.finished]
        for request in sorted(undrawn, key=self._due_s):
            trajectory = request.trajectory
            shape = shape or trajectory.shape
            if trajectory.shape == shape and (not chosen or trajectory.cost <= budget):
                chosen.append(request)
                budget -= trajectory.cost
        return chosen

    def drawn(self, pictures: int) -> list[Request]:
        """The first jobs that need no more steps: at most so many pictures, but at least one job."""
        chosen: list[Request] = []
        for request in self.requests():
            if request.trajectory.finished:
                pictures -= len(request.job.seeds)
                if chosen and pictures < 0:
                    break
                chosen.append(request)
        return chosen

    def _due_s(self, request: Request) -> float:
        trajectory = request.trajectory
        work_s = trajectory.cost * (trajectory.steps - trajectory.step_index) * self.seconds_per_cost
        due_s = min(request.submitted_s + self._overtaking * work_s, request.deadline_s - IN_TIME * work_s)
        return max(due_s, request.submitted_s)
