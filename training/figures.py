"""What the pictures show: shapes, an otter, a person. Each function paints one onto a canvas."""

import numpy as np

from training.canvas import Canvas, ellipse
from training.palette import INK, RGB, mix, outline_of

OUTLINE = 0.014
_WHITE: RGB = (252, 250, 246)


def shape_points(kind: str, center: tuple[float, float], radius: float, degrees: float) -> np.ndarray:
    """The outline of a circle, square, triangle or star, (n, 2) in shares of the side."""
    if kind == "circle":
        return ellipse(center, (radius * 0.92, radius * 0.92))
    corners = {"square": 4, "triangle": 3, "star": 10}[kind]
    angle = np.radians(np.arange(corners) * 360 / corners - 90 + (45 if kind == "square" else 0) + degrees)
    reach = np.full(corners, radius * (1.1 if kind != "star" else 1.14))
    if kind == "star":
        reach[1::2] *= 0.46
    result: np.ndarray = np.stack([np.cos(angle), np.sin(angle)], 1) * reach[:, None] + np.asarray(center)
    return result


def paint_shape(
    canvas: Canvas, kind: str, color: RGB, center: tuple[float, float], radius: float, degrees: float
) -> None:
    """Paints a flat shape with an outline."""
    points = shape_points(kind, center, radius, degrees)
    canvas.polygon(points, outline_of(color), grow=OUTLINE)
    canvas.polygon(points, color)


def paint_otter(
    canvas: Canvas, fur: RGB, beret: RGB | None, center: tuple[float, float], size: float, lean: float
) -> None:
    """Paints a sitting otter that looks at us; `size` is half its height, `lean` the tilt of its head in degrees."""
    cream, dark = mix(fur, (255, 236, 205), 0.72), mix(fur, INK, 0.35)

    def at(x: float, y: float) -> np.ndarray:
        result: np.ndarray = np.array([x, y]) * size + np.asarray(center)
        return result

    def oval(x: float, y: float, w: float, h: float, degrees: float = 0.0) -> np.ndarray:
        return ellipse(at(x, y), (w * size, h * size), degrees)

    turn = np.radians(lean)
    spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    pivot = at(0, -0.1)

    def head(points: np.ndarray) -> np.ndarray:
        result: np.ndarray = (points - pivot) @ spin + pivot
        return result

    tail = np.stack([at(0.3, 0.82), at(0.62, 0.84), at(0.86, 0.62)])
    fur_parts = [
        oval(0, 0.42, 0.5, 0.56), oval(-0.27, 0.93, 0.22, 0.12), oval(0.27, 0.93, 0.22, 0.12),
        head(oval(-0.46, -0.68, 0.13, 0.13)), head(oval(0.46, -0.68, 0.13, 0.13)), head(oval(0, -0.42, 0.58, 0.47)),
    ]  # fmt: skip
    canvas.line(tail, outline_of(fur), 0.24 * size + 2 * OUTLINE)
    for part in fur_parts:
        canvas.polygon(part, outline_of(fur), grow=OUTLINE)
    canvas.line(tail, dark, 0.24 * size)
    for part in fur_parts:
        canvas.polygon(part, fur)
    canvas.polygon(oval(0, 0.5, 0.33, 0.4), cream)
    for sign in (-1, 1):
        canvas.polygon(oval(sign * 0.27, 0.94, 0.15, 0.07), dark)
        canvas.line(np.stack([at(sign * 0.42, 0.22), at(sign * 0.16, 0.4)]), dark, 0.18 * size)
        canvas.polygon(head(oval(sign * 0.47, -0.68, 0.065, 0.065)), cream)
    canvas.polygon(head(oval(0, -0.26, 0.36, 0.26)), cream)
    for sign in (-1, 1):
        canvas.polygon(head(oval(sign * 0.27, -0.52, 0.085, 0.1)), INK)
        canvas.polygon(head(oval(sign * 0.27 + 0.03, -0.56, 0.035, 0.035)), _WHITE)
        canvas.line(head(ellipse(at(sign * 0.08, -0.22), (0.08 * size, 0.08 * size), 0, (20, 160))), INK, 0.035 * size)
    canvas.polygon(head(oval(0, -0.35, 0.12, 0.085)), INK)
    if beret is not None:
        parts = [head(oval(-0.08, -0.86, 0.54, 0.2, 8)), head(oval(-0.04, -0.76, 0.4, 0.12, 6))]
        stem = head(np.stack([at(-0.1, -1.0), at(-0.07, -1.1)]))
        canvas.line(stem, outline_of(beret), 0.07 * size + 2 * OUTLINE)
        for part in parts:
            canvas.polygon(part, outline_of(beret), grow=OUTLINE)
        canvas.line(stem, beret, 0.07 * size)
        for part in parts:
            canvas.polygon(part, beret)


def paint_person(canvas: Canvas, color: RGB, skin: RGB, hair: RGB, pose: np.ndarray) -> None:
    """Paints a person in clothes of one colour; `pose` is (18, 2) in OpenPose's order, in shares of the side."""
    scale = float(np.linalg.norm(pose[1] - (pose[8] + pose[11]) / 2)) / 0.3
    limb, shade, edge = 0.078 * scale, mix(color, INK, 0.22), outline_of(color)
    crown = (pose[0] - pose[1]) / max(float(np.linalg.norm(pose[0] - pose[1])), 1e-6)
    tilt = float(np.degrees(np.arctan2(crown[0], -crown[1])))
    skull = pose[0] + 0.012 * scale * crown
    torso = pose[[2, 5, 11, 8]]
    legs, arms = [pose[[8, 9, 10]], pose[[11, 12, 13]]], [pose[[2, 3, 4]], pose[[5, 6, 7]]]
    head = ellipse(skull, (0.098 * scale, 0.105 * scale), -tilt)

    for leg in legs:
        canvas.line(leg, edge, limb + 2 * OUTLINE)
    for leg in legs:
        canvas.line(leg, mix(color, INK, 0.35) if sum(color) > 150 else mix(color, _WHITE, 0.2), limb)
        canvas.polygon(ellipse(leg[-1], (0.05 * scale, 0.036 * scale)), edge)
    canvas.polygon(torso, edge, grow=limb / 2 + OUTLINE)
    canvas.line(pose[[1, 0]], mix(skin, INK, 0.5), 0.06 * scale + 2 * OUTLINE)
    canvas.polygon(head, mix(skin, INK, 0.5), grow=OUTLINE)
    canvas.line(pose[[1, 0]], mix(skin, INK, 0.2), 0.06 * scale)
    canvas.polygon(torso, color, grow=limb / 2)
    for arm in arms:
        canvas.polygon(ellipse(arm[-1], (0.042 * scale, 0.042 * scale)), mix(skin, INK, 0.5), grow=OUTLINE)
        canvas.line(arm, edge, limb + 2 * OUTLINE)
        canvas.line(arm, shade, limb)
        canvas.polygon(ellipse(arm[-1], (0.042 * scale, 0.042 * scale)), skin)
    for ear in (16, 17):
        canvas.polygon(ellipse(pose[ear], (0.024 * scale, 0.03 * scale)), mix(skin, INK, 0.15))
    canvas.polygon(head, skin)
    canvas.polygon(ellipse(skull + 0.02 * scale * crown, (0.104 * scale, 0.1 * scale), -tilt, (195, 345)), hair)
    for eye in (14, 15):
        canvas.polygon(ellipse(pose[eye] - 0.02 * scale * crown, (0.014 * scale, 0.018 * scale)), INK)
    smile = ellipse(pose[0] - 0.025 * scale * crown, (0.035 * scale, 0.028 * scale), -tilt, (15, 165))
    canvas.line(smile, INK, 0.012 * scale)
