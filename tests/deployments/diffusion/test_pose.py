"""Pose estimators: loading, the skeleton's size, and a picture of nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deployments.config import CheckpointConfig
from deployments.diffusion.components import CheckpointError
from deployments.diffusion.openpose import bodypose_model
from deployments.diffusion.pose import OpenPose, load_estimator
from deployments.errors import NoPoseFound
from tests.deployments.diffusion.conftest import DEMO, random_picture


class OnePerson:
    """A body estimator that sees all 18 keypoints on a diagonal."""

    def format_body_result(self, *found: Any) -> Any:
        from controlnet_aux.open_pose.body import Body

        return Body.format_body_result(*found)

    def __call__(self, picture: Any) -> tuple[Any, Any]:
        height, width = picture.shape[:2]
        along = np.linspace(0.1, 0.9, 18)
        keypoints = np.stack([along * width, along * height, np.ones(18), np.arange(18)], 1)
        return keypoints, np.array([[*range(18), 18.0, 18.0]])


@pytest.mark.parametrize(("width_px", "height_px"), [(256, 256), (200, 333), (1024, 576)])
def test_a_skeleton_has_the_size_of_the_picture(width_px: int, height_px: int) -> None:
    skeleton = OpenPose(OnePerson()).skeleton(random_picture(width_px, height_px))
    assert skeleton.shape == (height_px, width_px, 3)
    assert skeleton.dtype == np.uint8
    rows, columns = np.nonzero(skeleton.any(-1))
    assert np.abs(rows / height_px - columns / width_px).max() < 0.1  # on the diagonal


class Nobody(OnePerson):
    """A body estimator that sees no one."""

    def __call__(self, picture: Any) -> tuple[Any, Any]:
        return np.zeros((0, 4)), np.zeros((0, 20))


def test_a_picture_of_nobody_is_refused() -> None:
    with pytest.raises(NoPoseFound) as refusal:
        OpenPose(Nobody()).skeleton(random_picture(256, 256))
    assert refusal.value.param == "image"


def test_the_embedded_estimator_loads() -> None:
    assert isinstance(load_estimator(CheckpointConfig(path="unused", pose_estimator=str(DEMO / "pose"))), OpenPose)


@pytest.mark.parametrize("folder", [None, "missing"])
def test_an_estimator_that_is_not_there_is_named(folder: str | None, tmp_path: Path) -> None:
    path = folder and str(tmp_path)
    with pytest.raises(CheckpointError, match=path or "unused"):
        load_estimator(CheckpointConfig(path="unused", pose_estimator=path))


def test_openposes_own_weights_load_from_a_folder_like_the_hubs(tmp_path: Path) -> None:
    """As `lllyasviel/Annotators` has them: the network's state without the name of its block in front."""
    torch.manual_seed(0)
    state = bodypose_model().state_dict()
    torch.save({name.partition(".")[2]: values for name, values in state.items()}, tmp_path / "body_pose_model.pth")
    estimator = load_estimator(CheckpointConfig(path="none", pose_estimator=str(tmp_path)))
    loaded = estimator._detector.body_estimation.model.state_dict()
    assert all(torch.equal(loaded[name], values) for name, values in state.items())
    with pytest.raises(NoPoseFound):  # untrained weights see nobody, after a whole pass of the real detector
        estimator.skeleton(np.full((64, 64, 3), 255, np.uint8))
