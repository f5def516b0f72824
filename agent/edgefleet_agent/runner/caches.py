"""The page cache of the artifact: emptied before the cold load as far as a user may, and looked at honestly."""

import ctypes
import mmap
import os
import sys
from typing import Any, Optional


def evict_from_page_cache(path: str) -> None:
    """Ask the kernel to drop the file's clean pages (posix_fadvise(2)); it may decline, see ``cached_share``."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return  # the runtime will say what is wrong with the file
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError as err:
        sys.stderr.write("the page cache could not be asked to drop {}: {}\n".format(path, err))
    finally:
        os.close(descriptor)


def cached_share(path: str) -> "Optional[float]":
    """Share of the file's pages in the page cache, in [0, 1]; None where the kernel does not tell.

    mincore(2) tells the truth only about files one owns or may write (Linux >= 5.2).
    """
    try:
        if os.stat(path).st_uid != os.geteuid() and not os.access(path, os.W_OK):
            return None
        with open(path, "rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_COPY) as view:
            return _resident_share(view)
    except (OSError, ValueError, AttributeError):  # gone, empty, or no mincore in this C library
        return None


def _resident_share(view: "Any") -> "Optional[float]":
    n_pages = -(-len(view) // mmap.PAGESIZE)
    pages = (ctypes.c_ubyte * n_pages)()
    anchor = ctypes.c_char.from_buffer(view)
    try:
        address = ctypes.c_void_p(ctypes.addressof(anchor))
        if ctypes.CDLL(None, use_errno=True).mincore(address, ctypes.c_size_t(len(view)), pages) != 0:
            return None
    finally:
        del anchor  # an exported buffer would keep the mapping from being closed
    return sum(page & 1 for page in pages) / n_pages
