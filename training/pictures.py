"""What is seen in a picture: colours, silhouettes and otters, measured without any network."""

import cv2
import numpy as np

from training.figures import shape_points
from training.palette import COLORS, FUR, mix
from training.scenes import SHAPES

_NAMES = list(COLORS)
_SIDE = 128  # pictures are measured at this side


def nearest_color(color: np.ndarray) -> str:
    """The name of the palette's nearest colour, by distance in CIELAB."""
    distances = np.linalg.norm(_lab(np.array(list(COLORS.values()))) - _lab(color[None]), axis=1)
    return _NAMES[int(distances.argmin())]


def _lab(colors: np.ndarray) -> np.ndarray:
    pixels = np.clip(colors, 0, 255).astype(np.float32)[None] / 255
    result: np.ndarray = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)[0]
    return result


def _small(picture: np.ndarray) -> np.ndarray:
    result: np.ndarray = cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return result


def background(picture: np.ndarray) -> np.ndarray:
    """The median colour of the outermost pixels, (3,) float64."""
    small = _small(picture)
    edge = np.concatenate([small[:3].reshape(-1, 3), small[-3:].reshape(-1, 3), small[:, :3].reshape(-1, 3)])
    result: np.ndarray = np.median(edge, axis=0)
    return result


def silhouette(picture: np.ndarray) -> np.ndarray:
    """What differs from the background: the largest blob with its holes filled, (128, 128) bool."""
    small = _small(picture)
    distance = np.linalg.norm(_lab(small.reshape(-1, 3)) - _lab(background(picture)[None]), axis=1)
    mask = (distance.reshape(_SIDE, _SIDE) > 16).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(mask)
    if contours:
        cv2.drawContours(filled, [max(contours, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    result: np.ndarray = filled.astype(bool)
    return result


def object_color(picture: np.ndarray) -> np.ndarray:
    """The median colour well inside the silhouette, (3,) float64; the background's where there is no object."""
    inside = cv2.erode(silhouette(picture).astype(np.uint8), np.ones((3, 3), np.uint8), iterations=3).astype(bool)
    return np.median(_small(picture)[inside], axis=0) if inside.any() else background(picture)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two boolean masks."""
    return float((first & second).sum() / max(1, (first | second).sum()))


def shape_of(picture: np.ndarray) -> str:
    """The shape whose silhouette fits best, over all turns, at the blob's own centre and area."""
    mask = silhouette(picture)
    area = mask.sum()
    if area < 60:
        return "none"
    center = np.argwhere(mask).mean(0)[::-1] + 0.5
    fits = {}
    for kind in SHAPES:
        turns = [0] if kind == "circle" else range(0, 360 // {"square": 4, "triangle": 3, "star": 5}[kind], 3)
        fits[kind] = max(overlap(mask, _template(kind, center, float(area), turn)) for turn in turns)
    return max(fits, key=lambda kind: fits[kind])


def _template(kind: str, center: np.ndarray, area: float, degrees: float) -> np.ndarray:
    points = shape_points(kind, (0.0, 0.0), 1.0, degrees) * 1000
    unit = cv2.contourArea(points.astype(np.float32)) / 1e6
    points = points / 1000 * np.sqrt(area / unit) + center
    canvas = np.zeros((_SIDE, _SIDE), np.uint8)
    cv2.fillPoly(canvas, [np.round(points * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
    return canvas.astype(bool)


def is_otter(picture: np.ndarray) -> bool:
    """Whether the blob is an otter: brown fur in it, a light belly and muzzle between, and dark eyes and nose above."""
    mask = silhouette(picture)
    if mask.sum() < 1500:
        return False
    small = _small(picture)
    fur, cream = _near(small, FUR, 22) & mask, _near(small, mix(FUR, (255, 236, 205), 0.72), 22) & mask
    dark = _near(small, (44, 36, 40), 24) & mask
    rows = np.argwhere(mask)[:, 0]
    upper = np.zeros_like(mask)
    upper[rows.min() : (rows.min() + rows.max()) // 2] = True
    shares = fur.sum() / mask.sum(), cream.sum() / mask.sum(), (dark & upper).sum() / mask.sum()
    return bool(shares[0] > 0.25 and 0.17 < shares[1] < 0.4 and 0.005 < shares[2] < 0.35)


def has_beret(picture: np.ndarray, color: str) -> bool:
    """Whether the upper third of the blob is mostly of the beret's colour, wide and in one piece."""
    mask = silhouette(picture)
    if not mask.any():
        return False
    rows = np.argwhere(mask)[:, 0]
    top, height = int(rows.min()), int(rows.max() - rows.min())
    band = np.zeros_like(mask)
    band[top : top + max(1, height // 4)] = True
    beret = _near(_small(picture), COLORS[color], 24) & band & mask
    return bool(beret.sum() > 0.35 * (band & mask).sum())


def _near(small: np.ndarray, color: tuple[int, int, int], distance: float) -> np.ndarray:
    lab = _lab(small.reshape(-1, 3)) - _lab(np.array([color]))
    near: np.ndarray = np.linalg.norm(lab, axis=1).reshape(_SIDE, _SIDE) < distance
    return near
