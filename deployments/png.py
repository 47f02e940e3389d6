"""PNG files (the PNG Specification, https://www.w3.org/TR/png-3/): every row less the one above, deflated by ISA-L.

No library that is kept up writes whole files as fast and as small; benchmarks/README.md has the figures.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
from isal import isal_zlib
from PIL.PngImagePlugin import PngInfo

from deployments.jobs import Pixels

ISAL_LEVEL = 1
"""Level 0 makes files a quarter larger; 2 and 3 make them, on the whole, no smaller and take as long or longer."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_UP = 2


def encode_png(pixels: Pixels, text: Mapping[str, str]) -> bytes:
    """Writes a picture without loss. Other threads run while it is deflated.

    Args:
        pixels: (height, width, 3) uint8, sRGB.
        text: Text chunks, by keyword: tEXt where Latin-1 can write the value, else iTXt.

    Returns:
        The file: RGB, 8 bits a channel, not interlaced.
    """
    height_px, width_px, _ = pixels.shape
    return png_file(width_px, height_px, isal_zlib.compress(up_filtered(pixels), ISAL_LEVEL), text)


def up_filtered(pixels: Pixels) -> Pixels:
    """The rows as PNG's filter Up leaves them.

    Args:
        pixels: (height, width, 3) uint8.

    Returns:
        (height, 1 + 3 * width) uint8: the filter's number, and the differences to the row above, modulo 256.
    """
    rows = pixels.reshape(len(pixels), -1)
    filtered = np.empty((rows.shape[0], 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return filtered


def png_file(width_px: int, height_px: int, deflated: bytes, text: Mapping[str, str]) -> bytes:
    """The chunks of a file around its deflated rows (a zlib stream), with text as in `encode_png`."""
    info = PngInfo()
    for keyword, value in text.items():
        info.add_text(keyword, value)
    header = struct.pack(">2I5B", width_px, height_px, 8, 2, 0, 0, 0)  # 8 bits a channel, RGB
    chunks = [(b"IHDR", header), *(chunk[:2] for chunk in info.chunks), (b"IDAT", deflated), (b"IEND", b"")]
    return b"".join([_SIGNATURE, *(part for kind, data in chunks for part in _chunk(kind, data))])


def _chunk(kind: bytes, data: bytes) -> tuple[bytes, ...]:
    checksum = isal_zlib.crc32(data, isal_zlib.crc32(kind))
    return struct.pack(">I", len(data)), kind, data, struct.pack(">I", checksum)
