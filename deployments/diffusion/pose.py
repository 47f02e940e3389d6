"""Pose estimators: a picture of people → the skeletons that an OpenPose ControlNet reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2

from deployments.config import CheckpointConfig
from deployments.diffusion.components import CheckpointError, device_of
from deployments.diffusion.openpose import Body, OpenposeDetector
from deployments.errors import NoPoseFound
from deployments.jobs import Pixels

DETECT_PX = 512
"""The shorter edge at which OpenPose looks for people, as in the ControlNets' training; smaller pictures stay as is."""


class OpenPose:
    """controlnet-aux's OpenPose: body keypoints only, as the SDXL openpose ControlNets were trained."""

    def __init__(self, body_estimation: Any) -> None:
        """`body_estimation`: controlnet-aux's `Body`, or an object with its interface."""
        self._detector = OpenposeDetector(body_estimation)

    def skeleton(self, image: Pixels) -> Pixels:
        """The people's skeletons in OpenPose's colours on black, in the size of `image`.

        Args:
            image: (height_px, width_px, 3) uint8, sRGB.

        Raises:
            NoPoseFound: nobody is in the picture.
        """
        height_px, width_px = image.shape[:2]
        resolution = min(DETECT_PX, height_px, width_px)
        found = self._detector(image, detect_resolution=resolution, image_resolution=resolution, output_type="np")
        if not found.any():
            raise NoPoseFound("No person was found in the image.", "image")
        skeleton: Pixels = cv2.resize(found, (width_px, height_px), interpolation=cv2.INTER_LINEAR)
        return skeleton


def load_estimator(checkpoint: CheckpointConfig) -> OpenPose:
    """The checkpoint's pose estimator: OpenPose's weights (`lllyasviel/Annotators`), or a folder of a `BodyEstimator`.

    Raises:
        CheckpointError: there is none, or it can't be loaded.
    """
    path = checkpoint.pose_estimator
    if path is None:
        raise CheckpointError(checkpoint.path, "has no pose_estimator; poses can't be served")
    try:
        estimator = _load(path)
    except Exception as error:
        raise CheckpointError(path, str(error).strip().splitlines()[0][:300]) from error
    return OpenPose(estimator.to(device_of(checkpoint)))


def _load(path: str) -> Any:
    if (Path(path) / "config.json").exists():
        from deployments.diffusion.body_estimator import BodyEstimator

        return BodyEstimator.from_pretrained(path)
    if Path(path).is_dir():
        return Body(str(Path(path) / "body_pose_model.pth"))
    from huggingface_hub import hf_hub_download

    return Body(hf_hub_download(path, "body_pose_model.pth"))
