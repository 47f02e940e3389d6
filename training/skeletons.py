"""Skeleton pictures as controlnet-aux draws them: what the ControlNet is given."""

import cv2
import numpy as np

from deployments.diffusion.openpose import Keypoint, draw_bodypose

DRAWN_AT_PX = 512  # the serving code finds and draws poses at this side, or at the picture's where that is smaller


def draw_skeleton(pose: np.ndarray, side_px: int) -> np.ndarray:
    """(18, 2) keypoints in shares of the side → (side, side, 3) uint8, OpenPose's colours on black."""
    drawn = min(side_px, DRAWN_AT_PX)
    canvas = np.zeros((drawn, drawn, 3), np.uint8)
    skeleton = draw_bodypose(canvas, [Keypoint(float(x), float(y)) for x, y in pose])
    result: np.ndarray = cv2.resize(skeleton, (side_px, side_px), interpolation=cv2.INTER_LINEAR)
    return result
