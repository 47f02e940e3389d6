"""The procedural pictures that the embedded model learns from: a scene by seed, and its picture at any size."""

from dataclasses import dataclass, replace

import numpy as np

from training.canvas import Canvas
from training.figures import paint_otter, paint_person, paint_shape
from training.palette import COLORS, FUR, INK, RGB, mix
from training.poses import sample_pose

SHAPES = ("circle", "square", "triangle", "star")
_SKINS: tuple[RGB, ...] = ((246, 206, 168), (224, 172, 124), (160, 108, 72))
_HAIRS: tuple[RGB, ...] = ((66, 44, 36), (40, 34, 36), (176, 112, 48))


@dataclass(frozen=True)
class Scene:
    """One thing on a plain background. Lengths are shares of the picture's side, angles are in degrees."""

    kind: str
    """A shape's name, "otter" or "person"."""
    color: str | None
    """The object's colour by name; None is an otter's own brown."""
    background: str
    beret: str | None = None
    """The colour of an otter's beret; None is no beret."""
    center: tuple[float, float] = (0.5, 0.5)
    size: float = 0.28
    angle: float = 0.0
    pose: tuple[tuple[float, float], ...] = ()
    """A person's 18 keypoints in OpenPose's order."""
    person: int = 0
    """Which skin and hair a person has."""

    def keypoints(self) -> np.ndarray:
        """The pose as (18, 2) float64, or (0, 2) where nobody is."""
        return np.asarray(self.pose, np.float64).reshape(-1, 2)


def sample_scene(generator: np.random.Generator, kind: str | None = None) -> Scene:
    """A random scene; `kind` fixes what it shows."""
    names = list(COLORS)
    kind = kind or str(generator.choice([*SHAPES, "otter", "person"], p=[0.14, 0.14, 0.14, 0.14, 0.26, 0.18]))
    color, background = (str(name) for name in generator.choice(names, 2, replace=bool(generator.random() < 0.3)))
    scene = Scene(kind, color, background, angle=float(np.clip(generator.normal(0, 6), -14, 14)))
    if kind == "otter":
        size = float(generator.uniform(0.34, 0.41))
        room = 0.46 - size
        center = (0.48 + float(generator.uniform(-0.07, 0.07)), 0.53 + float(generator.uniform(-0.6, 0.6)) * room)
        beret = str(generator.choice(names)) if generator.random() < 0.5 else None
        fur = color if generator.random() < 0.15 else None
        return replace(scene, color=fur, beret=beret, center=center, size=size)
    if kind == "person":
        pose = tuple((float(x), float(y)) for x, y in sample_pose(generator))
        return replace(scene, pose=pose, person=int(generator.integers(9)))
    size = float(generator.uniform(0.2, 0.36))
    room = 0.8 * max(0.0, 0.46 - 1.16 * size)
    center = (0.5 + float(generator.uniform(-room, room)), 0.5 + float(generator.uniform(-room, room)))
    return replace(scene, center=center, size=size)


def recolored(scene: Scene, generator: np.random.Generator) -> Scene:
    """The same thing in the same place with another colour, background or beret: what a picture was before an edit."""
    names = list(COLORS)
    change = generator.choice(3, p=[0.6, 0.2, 0.2])  # the thing, the background, both
    background = scene.background if change == 0 else str(generator.choice(names))
    if change == 1:
        return replace(scene, background=background)
    if scene.kind == "otter":
        beret = None if scene.beret and generator.random() < 0.5 else str(generator.choice(names))
        return replace(scene, beret=beret, background=background)
    return replace(scene, color=str(generator.choice(names)), background=background)


def render(scene: Scene, side_px: int) -> np.ndarray:
    """The scene's picture, (side, side, 3) uint8, sRGB."""
    canvas = Canvas(side_px, COLORS[scene.background])
    if scene.kind == "otter":
        fur = FUR if scene.color is None else _tinted(COLORS[scene.color])
        beret = None if scene.beret is None else COLORS[scene.beret]
        paint_otter(canvas, fur, beret, scene.center, scene.size, scene.angle)
    elif scene.kind == "person":
        skin, hair = _SKINS[scene.person % 3], _HAIRS[scene.person // 3]
        paint_person(canvas, _of(scene), skin, hair, scene.keypoints())
    else:
        paint_shape(canvas, scene.kind, _of(scene), scene.center, scene.size, scene.angle)
    return canvas.picture()


def _of(scene: Scene) -> RGB:
    return COLORS[scene.color or scene.background]


def _tinted(color: RGB) -> RGB:
    """A fur of any colour: darker where it is bright, so that the light belly still shows."""
    return mix(color, INK, 0.12) if sum(color) > 500 else color
