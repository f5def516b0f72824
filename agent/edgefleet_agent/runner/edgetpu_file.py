"""What a .tflite file says of the Edge TPU, without any runtime."""

import mmap

CUSTOM_OP = b"edgetpu-custom-op"
"""Name of the operator that stands for all that the Edge TPU computes (libedgetpu, tflite/public/edgetpu.h)."""

IDENTIFIER = b"TFL3"
"""Bytes 4 to 7 of every TensorFlow Lite file (schema.fbs, file_identifier)."""


def is_tflite_file(path: str) -> bool:
    """Does the file begin as a TensorFlow Lite file does?"""
    with open(path, "rb") as handle:
        return handle.read(8)[4:] == IDENTIFIER


def is_edgetpu_file(path: str) -> bool:
    """Was the file compiled for the Edge TPU? The name of the operator stands in it as plain bytes."""
    if not is_tflite_file(path):
        return False
    with open(path, "rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(CUSTOM_OP) >= 0
