"""Ways to write a PNG file: milliseconds and kilobytes of five kinds of picture, and their ratios to Pillow's.

python -m benchmarks.encoding [--sizes 1024 512] [--rounds 11]

The encoders take turns, picture by picture. The milliseconds are the processor's, in which other programs on the
machine show less than in the time that passes. Encoders that are no dependency are left out where they are not
installed (fpng, imagecodecs, deflate, zlib-ng).
"""

from __future__ import annotations

import argparse
import importlib
import io
import statistics
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import cv2
import numpy as np
from isal import isal_zlib
from PIL import Image

from benchmarks.embedded import run_as_the_service_does
from benchmarks.pictures import five_kinds
from benchmarks.report import report
from deployments.jobs import Pixels
from deployments.png import encode_png, png_file, up_filtered

Encoder: TypeAlias = Callable[[Pixels], bytes]

REFERENCE = "Pillow, level 1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 512])
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    run_as_the_service_does()
    rows = [row for size in options.sizes for row in _compare(_encoders(), five_kinds(size), size, options.rounds)]
    report("encoding", rows, {"rounds": options.rounds})


def _encoders() -> dict[str, Encoder]:
    encoders = {
        "the service's": lambda pixels: encode_png(pixels, {}),
        REFERENCE: _pillow(compress_level=1),
        "Pillow, level 6": _pillow(compress_level=6),
        "Pillow, RLE": _pillow(compress_level=1, compress_type=zlib.Z_RLE),
        "OpenCV, Up, RLE": _opencv(cv2.IMWRITE_PNG_STRATEGY_RLE),
        "OpenCV, Up, Huffman": _opencv(cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY),
        "Up, zlib's RLE": _up(_zlib(zlib, 1, zlib.Z_RLE)),
        "Up, zlib's Huffman": _up(_zlib(zlib, 1, zlib.Z_HUFFMAN_ONLY)),
        "Up, zlib, level 1": _up(_zlib(zlib, 1)),
        **{f"Up, ISA-L, level {level}": _up(_at(isal_zlib.compress, level)) for level in (0, 2, 3)},
    }
    if zlib_ng := _installed("zlib_ng.zlib_ng"):
        encoders["Up, zlib-ng's RLE"] = _up(_zlib(zlib_ng, 1, zlib_ng.Z_RLE))
        encoders["Up, zlib-ng, level 2"] = _up(_zlib(zlib_ng, 2))
    if deflate := _installed("deflate"):
        encoders["Up, libdeflate, level 1"] = _up(_at(deflate.zlib_compress, 1))
        encoders["Up, libdeflate, level 4"] = _up(_at(deflate.zlib_compress, 4))
    if fpng := _installed("fpng"):
        encoders["fpng"] = fpng.from_ndarray
    if codecs := _installed("imagecodecs"):
        up_rle = {"filter": codecs.PNG.FILTER.UP, "strategy": codecs.PNG.STRATEGY.RLE}
        encoders["imagecodecs, Up, RLE"] = lambda pixels: bytes(codecs.png_encode(pixels, level=1, **up_rle))
    return encoders


def _installed(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _pillow(**options: int) -> Encoder:
    def encode(pixels: Pixels) -> bytes:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG", **options)
        return file.getvalue()

    return encode


def _opencv(strategy: int) -> Encoder:
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, strategy]
    settings += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]

    def encode(pixels: Pixels) -> bytes:
        data: bytes = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), settings)[1].tobytes()
        return data

    return encode


def _up(deflated: Callable[[Pixels], bytes]) -> Encoder:
    """As `encode_png`, with another deflate."""

    def encode(pixels: Pixels) -> bytes:
        height_px, width_px, _ = pixels.shape
        return png_file(width_px, height_px, deflated(up_filtered(pixels)), {})

    return encode


def _zlib(module: Any, level: int, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> Callable[[Pixels], bytes]:
    def deflated(rows: Pixels) -> bytes:
        stream = module.compressobj(level, strategy=strategy)
        return b"".join([stream.compress(rows), stream.flush()])

    return deflated


def _at(compress: Callable[[Pixels, int], Any], level: int) -> Callable[[Pixels], bytes]:
    return lambda rows: bytes(compress(rows, level))


def _compare(encoders: dict[str, Encoder], pictures: dict[str, Pixels], size: int, rounds: int) -> list[dict[str, Any]]:
    files = {name: {kind: encode(pixels) for kind, pixels in pictures.items()} for name, encode in encoders.items()}
    for of_kinds in files.values():
        for kind, file in of_kinds.items():
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(file))), pictures[kind])
    times_ms: dict[str, dict[str, list[float]]] = {name: {kind: [] for kind in pictures} for name in encoders}
    for _ in range(rounds):
        for kind, pixels in pictures.items():
            for name, encode in encoders.items():
                started_s = time.process_time()
                encode(pixels)
                times_ms[name][kind].append(1000 * (time.process_time() - started_s))
    medians_ms = {
        name: {kind: statistics.median(each) for kind, each in of_kinds.items()} for name, of_kinds in times_ms.items()
    }
    sizes_bytes = {name: {kind: len(file) for kind, file in of_kinds.items()} for name, of_kinds in files.items()}
    return [
        {"px": size, "encoder": name}
        | {f"{kind}, ms": medians_ms[name][kind] for kind in pictures}
        | {f"{kind}, kB": round(sizes_bytes[name][kind] / 1000) for kind in pictures}
        | {"time / Pillow": _ratio(medians_ms, name), "bytes / Pillow": _ratio(sizes_bytes, name)}
        for name in encoders
    ]


def _ratio(figures: Mapping[str, Mapping[str, float]], name: str) -> float:
    """The geometric mean, over the pictures, of an encoder's figures by the reference's."""
    return statistics.geometric_mean(value / figures[REFERENCE][kind] for kind, value in figures[name].items())


if __name__ == "__main__":
    main()
