"""A small antialiased painter in picture-relative coordinates."""

from collections.abc import Iterable

import cv2
import numpy as np

from training.palette import RGB

_SHIFT = 5
_SUPERSAMPLE = 2


class Canvas:
    """A square picture that is painted at twice its size and scaled down."""

    def __init__(self, side_px: int, background: RGB) -> None:
        self.side_px = side_px
        self._px = side_px * _SUPERSAMPLE
        self._image = np.empty((self._px, self._px, 3), np.uint8)
        self._image[:] = background

    def _fixed(self, points: np.ndarray) -> np.ndarray:
        result: np.ndarray = np.round((points * self._px - 0.5) * 2**_SHIFT).astype(np.int32)
        return result

    def polygon(self, points: np.ndarray, color: RGB, grow: float = 0.0) -> None:
        """Fills a polygon, (n, 2) in shares of the side, grown by `grow` (a share of the side) on all sides."""
        fixed = self._fixed(points)
        cv2.fillPoly(self._image, [fixed], color, cv2.LINE_AA, _SHIFT)
        if grow:
            self._stroke(fixed, color, 2 * grow, closed=True)

    def line(self, points: np.ndarray, color: RGB, width: float) -> None:
        """Draws a line with round ends through (n, 2) points, `width` in shares of the side."""
        self._stroke(self._fixed(points), color, width, closed=False)

    def _stroke(self, fixed: np.ndarray, color: RGB, width: float, closed: bool) -> None:
        thickness = max(1, round(width * self._px))
        cv2.polylines(self._image, [fixed], closed, color, thickness, cv2.LINE_AA, _SHIFT)

    def picture(self) -> np.ndarray:
        """The picture, (side, side, 3) uint8, sRGB."""
        result: np.ndarray = cv2.resize(self._image, (self.side_px, self.side_px), interpolation=cv2.INTER_AREA)
        return result


def ellipse(
    center: Iterable[float], radii: Iterable[float], degrees: float = 0.0, arc: tuple[float, float] = (0, 360)
) -> np.ndarray:
    """Points on an ellipse, (64, 2); `arc` in degrees clockwise from the right."""
    angle = np.radians(np.linspace(*arc, 64, endpoint=arc != (0, 360)))
    points = np.stack([np.cos(angle), np.sin(angle)], 1) * np.asarray(tuple(radii))
    turn = np.radians(degrees)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    result: np.ndarray = points @ rotation + np.asarray(tuple(center))
    return result
