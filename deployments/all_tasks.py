"""AllTasks: every job, drawn by one engine."""

from __future__ import annotations

from deployments.pose_control import PoseControl


class AllTasks(PoseControl):
    """Draws the jobs of all three tasks with one set of weights, and their rows in one batch."""
