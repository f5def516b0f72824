"""From a float torch network to a float .tflite file: batch 1, images channel-last, token ids as int32."""

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import litert_torch
import torch
from torch import nn

from edgefleet_compression.structure import InputSpec
from edgefleet_deploy.errors import CandidateRefused

IMAGE_RANK = 3
"""Dimensions of a sample [C, H, W] that becomes [H, W, C]."""


def is_image(spec: InputSpec) -> bool:
    """Return whether a sample is an image, whose channels the file has last."""
    return len(spec.shape) == IMAGE_RANK


def has_token_ids(spec: InputSpec) -> bool:
    """Return whether a sample is a row of token ids, which the file takes as 32-bit integers."""
    return str(spec.dtype) == "int64"


def convert_module(model: nn.Module, spec: InputSpec, work_dir: Path) -> bytes:
    """Return the file of a float network in eval mode; equal networks give equal bytes.

    Raises CandidateRefused ``not_exportable`` with the converter's own reason.
    """
    sample = _sample(spec)
    module: nn.Module = litert_torch.to_channel_last_io(model, args=[0]) if is_image(spec) else model
    with _quiet(), tempfile.NamedTemporaryFile(dir=work_dir, suffix=".tflite") as file:
        try:
            litert_torch.convert(module.eval(), (sample,)).export(file.name)
        except Exception as err:  # the converter's parts share no base class for their errors
            raise CandidateRefused(
                f"the network cannot be written as a TFLite file ({type(err).__name__}): {_first_line(err)}; compile it "
                "for an onnxruntime target, or replace the operator that is named",
                code="not_exportable",
            ) from err
        return Path(file.name).read_bytes()


def _sample(spec: InputSpec) -> torch.Tensor:
    if is_image(spec):
        channels, height, width = spec.shape
        return torch.zeros(1, height, width, channels)
    dtype = torch.int32 if has_token_ids(spec) else torch.float32
    return torch.zeros(1, *spec.shape, dtype=dtype)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the converter's progress and its libraries' warnings about themselves out of the step's log."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _first_line(err: Any) -> str:
    lines = str(err).strip().splitlines()
    return lines[0][:400] if lines else "no message"
