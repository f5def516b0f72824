"""Decode, resize and normalise images. Pillow is loaded where an image is decoded."""

import io
from typing import Final

import numpy as np

from edgefleet_compression.data.dataset import Array, DataSet, Split
from edgefleet_compression.errors import DataInvalid

MAX_BYTES: Final = 8 * 1024**3
"""Refuse data sets whose decoded pixels take more: all of them are held in memory."""


def decode(payload: bytes, *, where: str) -> Array:
    """Return the image as uint8 (h, w, 3); DataInvalid ``image_unreadable``, or ``decoder_missing`` without Pillow."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise DataInvalid(
            'Images are decoded by Pillow, which is not installed: pip install "edgefleet[vision]".',
            code="decoder_missing",
        ) from error
    try:
        with Image.open(io.BytesIO(payload)) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise DataInvalid(f"{where} is not a readable image ({error}).", code="image_unreadable") from error


def resize_and_crop(image: Array, *, side: int, crop: float) -> Array:
    """Return uint8 (side, side, 3): the shorter side becomes ``side / crop`` (bilinear), the centre is kept."""
    from PIL import Image

    height, width = image.shape[:2]
    factor = round(side / crop) / min(height, width)
    size = (max(side, round(width * factor)), max(side, round(height * factor)))
    resized = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    top, left = (size[1] - side) // 2, (size[0] - side) // 2
    return resized[top : top + side, left : left + side]


def stack(images: list[Array], *, name: str) -> Array:
    """Return uint8 (n, c, h, w) of images (h, w, c); DataInvalid ``image_sizes_differ``."""
    shapes = {image.shape for image in images}
    if len(shapes) != 1:
        found = ", ".join(str(list(shape)) for shape in sorted(shapes)[:3])
        raise DataInvalid(
            f"Images of {name} have different sizes ({found}): resize them to one, or use image_folder with a side.",
            code="image_sizes_differ",
        )
    return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))


def require_memory(n_samples: int, shape: tuple[int, ...], *, name: str) -> None:
    """Raise DataInvalid ``data_too_large`` if the decoded pixels exceed ``MAX_BYTES``."""
    n_bytes = n_samples * int(np.prod(shape))
    if n_bytes > MAX_BYTES:
        raise DataInvalid(
            f"{name} decodes to {n_bytes} bytes, above {MAX_BYTES}: use fewer images or a smaller side.",
            code="data_too_large",
        )


def normalised(data: DataSet, mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> DataSet:
    """Return the data set with (pixels / 255 - mean) / std as float32; as it is where both are None."""
    if mean is None and std is None:
        return data
    n_channels = data.train.x.shape[1]
    if mean is None or std is None or len(mean) != n_channels or len(std) != n_channels:
        raise DataInvalid(
            f"mean and std must both have one number for each of the {n_channels} channels.", code="data_spec_invalid"
        )
    shift, scale = (np.asarray(row, np.float32)[:, None, None] for row in (mean, std))

    def convert(split: Split) -> Split:
        return Split({"x": (split.x.astype(np.float32) / np.float32(255.0) - shift) / scale}, split.y)

    return DataSet(data.name, convert(data.train), convert(data.validation), convert(data.test))
