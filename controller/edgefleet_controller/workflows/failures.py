"""Turns whatever ends a step into a coded error: an exception that nobody caught would leave its job running for ever."""

import errno
import logging
from pathlib import Path

from sqlalchemy.exc import InterfaceError, OperationalError

from edgefleet_compression.errors import StepError
from edgefleet_controller.blobs.store import BlobStore
from edgefleet_controller.engine.child_process import StepFailed
from edgefleet_controller.errors import ControllerError, NotFound

log = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT)


def as_step_failure(err: Exception) -> StepFailed:
    """The coded error of a step; an unexpected one is logged with its traceback."""
    if isinstance(err, StepFailed):
        return err
    if isinstance(err, StepError):  # for example a recipe of an older version that this one does not know
        return StepFailed(err.code, err.message, err.detail)
    if isinstance(err, ControllerError):
        return StepFailed(err.code, err.message)
    if isinstance(err, OperationalError | InterfaceError):
        return StepFailed("store_unavailable", f"The store did not answer: {err.orig or err}")
    log.error("a step ended unexpectedly", exc_info=err)
    if isinstance(err, OSError) and err.errno in _FULL:
        return StepFailed("disk_full", f"The controller's disk is full ({err}); free space, then submit the job again.")
    return StepFailed("internal_error", f"{type(err).__name__}: {err}; the worker's log has the traceback.")


def stored_file(blobs: BlobStore, sha256: str) -> Path:
    """Where the file lies that the database knows; StepFailed(blob_lost) if it was deleted from the store."""
    try:
        return blobs.path(sha256)
    except NotFound as err:
        raise StepFailed(
            "blob_lost",
            f"The file {sha256} is missing from the controller's store: "
            "restore it from a backup, or add the model and its data again.",
            {"sha256": sha256},
        ) from err
