"""Poses of a standing figure: OpenPose's 18 keypoints, drawn from a random generator."""

from math import cos, radians, sin

import numpy as np

# OpenPose's order; "right" is the figure's own right, which is the left of the picture.
KEYPOINTS = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip

MARGIN = 0.07


def _ahead(start: np.ndarray, length: float, degrees: float) -> np.ndarray:
    """The point `length` away from `start`, where 0 degrees is down and 90 is to the right of the picture."""
    return start + length * np.array([sin(radians(degrees)), cos(radians(degrees))])


def sample_pose(generator: np.random.Generator) -> np.ndarray:
    """A random pose that fits a square picture.

    Returns:
        (18, 2) float64: x and y as shares of the picture's side, rows in the order of `KEYPOINTS`.
    """
    lean = generator.normal(0, 7)
    turn = np.array([cos(radians(lean)), sin(radians(lean))])  # along the shoulders, to the right of the picture
    up = np.array([turn[1], -turn[0]])
    points = np.zeros((18, 2))
    neck = points[1]
    tilt = generator.normal(0, 8)
    side = np.array([cos(radians(lean + tilt)), sin(radians(lean + tilt))])
    crown = np.array([side[1], -side[0]])
    points[0] = neck + 0.135 * crown
    points[14], points[15] = points[0] + 0.035 * crown - 0.04 * side, points[0] + 0.035 * crown + 0.04 * side
    points[16], points[17] = points[0] + 0.015 * crown - 0.1 * side, points[0] + 0.015 * crown + 0.1 * side
    hip = neck - 0.3 * up
    for sign, shoulder, hips in ((-1, 2, 8), (1, 5, 11)):
        points[shoulder] = neck + sign * 0.115 * turn
        upper = generator.choice([generator.uniform(8, 60), generator.uniform(60, 165)])
        lower = upper + generator.uniform(-25, 110) if upper < 120 else upper + generator.uniform(-60, 40)
        points[shoulder + 1] = _ahead(points[shoulder], 0.165, sign * upper)
        points[shoulder + 2] = _ahead(points[shoulder + 1], 0.16, sign * lower)
        points[hips] = hip + sign * 0.062 * turn
        thigh = generator.choice([generator.uniform(0, 15), generator.uniform(15, 55)])
        shin = thigh - (generator.uniform(-5, 15) if thigh < 15 else generator.uniform(0, 70))
        points[hips + 1] = _ahead(points[hips], 0.2, sign * thigh)
        points[hips + 2] = _ahead(points[hips + 1], 0.2, sign * shin)
    return _placed(points, generator)


def _placed(points: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Scales a pose and moves it to a random place where the whole figure, its outline too, is inside the picture."""
    body = 0.07
    low = np.minimum(points.min(0) - body, points[0] - 0.15)
    high = np.maximum(points.max(0) + body, points[0] + 0.13)
    scale = min(generator.uniform(0.72, 1.0), *(0.98 / (high - low)))
    slack = 1 - (high - low) * scale
    result: np.ndarray = (points - low) * scale + slack * generator.uniform(0.15, 0.85, 2)
    return result
