"""Finished runs on disk until the controller has accepted them: they survive a kill and a power cut."""

import hashlib
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from edgefleet_agent.wire.messages import ReportRequest

log = logging.getLogger(__name__)

REPORT_FILE = "report.json"
BLOB_FOLDER = "blobs"
UNFINISHED = ".unfinished"
PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")


@dataclass(frozen=True)
class SpooledRun:
    """A finished run: its report and the files of its raw samples by sha256."""

    folder: Path
    request: ReportRequest
    blobs: Mapping[str, Path]


class Spool:
    """A folder with one folder per finished run. An entry appears whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._pending, self._refused = folder / "pending", folder / "refused"
        for item in (self._pending, self._refused):
            item.mkdir(parents=True, exist_ok=True)
        for unfinished in self._pending.glob("*" + UNFINISHED):
            shutil.rmtree(unfinished)

    def add(self, request: ReportRequest, blobs: Mapping[str, bytes]) -> SpooledRun:
        """Store a finished run durably. ``blobs`` by any name; they are kept by their sha256.

        Raises OSError, and leaves nothing behind, where the disk is full or not writable.
        """
        folder = self._pending / entry_name(request.run_id, request.attempt)
        draft = folder.with_name(folder.name + UNFINISHED)
        try:
            _write_draft(draft, request, blobs)
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        if folder.exists():
            shutil.rmtree(folder)  # the same attempt was measured again after a restart
        draft.rename(folder)
        _sync_folder(self._pending)
        return self._read(folder, request)

    def pending(self) -> Iterator[SpooledRun]:
        """All runs not yet accepted, oldest first; an unreadable one is put aside with a log entry."""
        for folder in sorted(self._pending.iterdir(), key=lambda item: item.stat().st_mtime):
            try:
                request = ReportRequest.model_validate_json((folder / REPORT_FILE).read_bytes())
            except (OSError, ValidationError) as err:
                log.warning("spooled run %s is unreadable and was put aside: %s", folder.name, err)
                self._move_aside(folder)
            else:
                yield self._read(folder, request)

    def remove(self, run: SpooledRun) -> None:
        """Forget a run that was accepted, or that belongs to somebody else now."""
        shutil.rmtree(run.folder, ignore_errors=True)

    def refuse(self, run: SpooledRun) -> None:
        """Keep a run that the controller does not take for a person to look at, and never send it again."""
        self._move_aside(run.folder)

    def _move_aside(self, folder: Path) -> None:
        target = self._refused / folder.name
        if target.exists():
            shutil.rmtree(target)
        folder.rename(target)

    @staticmethod
    def _read(folder: Path, request: ReportRequest) -> SpooledRun:
        return SpooledRun(folder, request, {item.name: item for item in sorted((folder / BLOB_FOLDER).iterdir())})


def entry_name(run_id: str, attempt: int) -> str:
    """File-system name of an attempt; an identifier with odd characters is hashed."""
    plain = run_id if PLAIN_NAME.fullmatch(run_id) else hashlib.sha256(run_id.encode()).hexdigest()
    return "{}.{}".format(plain, attempt)


def _write_draft(draft: Path, request: ReportRequest, blobs: Mapping[str, bytes]) -> None:
    (draft / BLOB_FOLDER).mkdir(parents=True)
    for content in blobs.values():
        _write_durably(draft / BLOB_FOLDER / hashlib.sha256(content).hexdigest(), content)
    _write_durably(draft / REPORT_FILE, request.model_dump_json().encode())
    for item in (draft / BLOB_FOLDER, draft):
        _sync_folder(item)


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
