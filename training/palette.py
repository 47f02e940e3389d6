"""The eight colours of the embedded model's world, as sRGB bytes."""

RGB = tuple[int, int, int]

COLORS: dict[str, RGB] = {
    "red": (222, 52, 52),
    "green": (52, 160, 84),
    "blue": (52, 104, 214),
    "yellow": (250, 208, 60),
    "purple": (138, 76, 190),
    "orange": (245, 136, 40),
    "white": (250, 250, 246),
    "black": (30, 30, 36),
}

INK: RGB = (44, 36, 40)
FUR: RGB = (142, 94, 60)


def mix(first: RGB, second: RGB, share: float) -> RGB:
    """`first` with `share` (0 to 1) of `second` mixed into it."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def outline_of(color: RGB) -> RGB:
    """An outline that shows a colour even on itself: darker, but lighter where there is no darker."""
    return mix(color, (255, 255, 255), 0.42) if sum(color) < 150 else mix(color, INK, 0.55)
