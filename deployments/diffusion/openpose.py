"""controlnet-aux's OpenPose, imported without its noise: it warns of optional parts and imports others by old names."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from controlnet_aux import OpenposeDetector
    from controlnet_aux.open_pose.body import Body, BodyResult, Keypoint
    from controlnet_aux.open_pose.model import bodypose_model
    from controlnet_aux.open_pose.util import draw_bodypose

__all__ = ["Body", "BodyResult", "Keypoint", "OpenposeDetector", "bodypose_model", "draw_bodypose"]
