"""Uploaded pictures as the pipelines take them: upright, sRGB, opaque, and of the size that is drawn."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms, ImageOps

from deployments.jobs import Pixels
from serve_app.picture_files import BadUpload, decode, open_picture

__all__ = ["BadUpload", "UploadedMask", "UploadedPicture"]


class UploadedPicture:
    """A PNG, JPEG or WebP file, decoded once, whatever its pixels are like.

    The first frame of an animation is taken, EXIF orientation is applied, transparent parts lie on white, colours of
    another ICC profile become sRGB.
    """

    def __init__(self, data: bytes, *, max_image_pixels: int, param: str = "image") -> None:
        """Decodes a file.

        Args:
            data: the file.
            max_image_pixels: a picture with more pixels in its header is refused before it is decoded.
            param: the request's field, for the error.

        Raises:
            BadUpload: the file can't be read, or has too many pixels; says what was found.
        """
        file = open_picture(data, max_image_pixels=max_image_pixels, param=param)
        self._profile = file.info.get("icc_profile")
        self._image = decode(file, param)
        self.size_px = self._image.size
        """Width and height, upright."""

    def fitted(self, width_px: int, height_px: int) -> Pixels:
        """Scaled (Lanczos) until it fills a size, and cropped to its centre: (height_px, width_px, 3) uint8, sRGB."""
        fitted = ImageOps.fit(self._image, (width_px, height_px), Image.Resampling.LANCZOS)
        return np.asarray(_on_white(fitted, self._profile))


class UploadedMask:
    """An edit's mask as OpenAI means it: where it is transparent, the picture is drawn anew."""

    def __init__(
        self, data: bytes, *, image_size_px: tuple[int, int], max_image_pixels: int, param: str = "mask"
    ) -> None:
        """Decodes a PNG or WebP file with transparency.

        Args:
            data: the file.
            image_size_px: `size_px` of the picture it belongs to; the mask must have the same.
            max_image_pixels: as for `UploadedPicture`.
            param: likewise.

        Raises:
            BadUpload: the file can't be read, has another size than the picture, or no transparency.
        """
        mask = decode(open_picture(data, max_image_pixels=max_image_pixels, param=param), param)
        if mask.size != image_size_px:
            found, wanted = (f"{width}x{height}" for width, height in (mask.size, image_size_px))
            raise BadUpload(f"'{param}' must have the size of the image, {wanted}; it is {found}.", param)
        if mask.mode != "RGBA":
            raise BadUpload(
                f"'{param}' has no transparency; what is to be drawn anew must be transparent in it.", param
            )
        self._alpha = mask.getchannel("A")

    def fitted(self, width_px: int, height_px: int) -> Pixels:
        """Scaled and cropped as its picture: (height_px, width_px) uint8, 255 is drawn anew, 0 is kept."""
        # Not Lanczos: it swings over at an edge, and would draw a little of what is to be kept.
        return 255 - np.asarray(ImageOps.fit(self._alpha, (width_px, height_px), Image.Resampling.BILINEAR))


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
