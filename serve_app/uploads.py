"""Uploaded pictures as the pipelines take them: upright, sRGB, opaque, and of the size that is drawn."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms, ImageOps

from deployments.contracts import Pixels
from serve_app.picture_files import BadUpload, decode, open_picture, upright_size_px

__all__ = ["BadUpload", "read_mask", "read_picture", "upright_size_px"]


def read_picture(data: bytes, *, width_px: int, height_px: int, max_image_pixels: int, param: str = "image") -> Pixels:
    """Reads a PNG, JPEG or WebP file, whatever its pixels are like, and fits it to a size.

    The first frame of an animation is taken, EXIF orientation is applied, transparent parts lie on white, colours of
    another ICC profile become sRGB. The picture is scaled (Lanczos) until it fills the size and cropped to its centre.

    Args:
        data: the file.
        width_px: width of the result.
        height_px: height of the result.
        max_image_pixels: a picture with more pixels in its header is refused before it is decoded.
        param: the request's field, for the error.

    Returns:
        (height_px, width_px, 3) uint8, sRGB.

    Raises:
        BadUpload: the file can't be read, or has too many pixels; says what was found.
    """
    image = open_picture(data, max_image_pixels=max_image_pixels, param=param)
    profile = image.info.get("icc_profile")
    fitted = ImageOps.fit(decode(image, param), (width_px, height_px), Image.Resampling.LANCZOS)
    return np.asarray(_on_white(fitted, profile))


def read_mask(
    data: bytes,
    *,
    image_size_px: tuple[int, int],
    width_px: int,
    height_px: int,
    max_image_pixels: int,
    param: str = "mask",
) -> Pixels:
    """Reads an edit's mask as OpenAI means it: where it is transparent, the picture is drawn anew.

    Args:
        data: a PNG or WebP file with transparency.
        image_size_px: `upright_size_px` of the picture it belongs to; the mask must have the same.
        width_px: width of the result. The mask is scaled and cropped as `read_picture` does with the picture.
        height_px: height of the result.
        max_image_pixels: as for `read_picture`.
        param: the request's field, for the error.

    Returns:
        (height_px, width_px) uint8: 255 is drawn anew, 0 is kept.

    Raises:
        BadUpload: the file can't be read, has another size than the picture, or no transparency.
    """
    mask = decode(open_picture(data, max_image_pixels=max_image_pixels, param=param), param)
    if mask.size != image_size_px:
        found, wanted = (f"{width}x{height}" for width, height in (mask.size, image_size_px))
        raise BadUpload(f"'{param}' must have the size of the image, {wanted}; it is {found}.", param)
    if mask.mode != "RGBA":
        raise BadUpload(f"'{param}' has no transparency; what is to be drawn anew must be transparent in it.", param)
    # Not Lanczos: it swings over at an edge, and would draw a little of what is to be kept.
    fitted = ImageOps.fit(mask.getchannel("A"), (width_px, height_px), Image.Resampling.BILINEAR)
    return 255 - np.asarray(fitted)


def _on_white(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An RGB picture in sRGB, with white behind what is transparent."""
    if image.mode != "RGBA":
        return _to_srgb(image, profile)
    white = Image.new("RGB", image.size, "white")
    white.paste(_to_srgb(image.convert("RGB"), profile), mask=image.getchannel("A"))
    return white


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Translates colours by the ICC profile where there is one that fits the picture; else they count as sRGB."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            translated = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            return image.convert("RGB") if translated is None else translated
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass  # a damaged profile, or one of another colour model, as browsers ignore it
    return image.convert("RGB")
