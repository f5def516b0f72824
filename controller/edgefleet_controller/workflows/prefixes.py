"""Trainings that several recipes begin with are carried out once: a shelf of what finished passes left.

A pass's result depends on the passes before it alone (``edgefleet_compression.passes.finished``), and what a step finds in its
folder of checkpoints is taken only if its fingerprint is right. So a shelf may lose, mix up or repeat things without harm.
"""

import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgefleet_controller.canonical import canonical_sha256

JsonObject = dict[str, Any]
COSTLY = frozenset({"train", "lottery_ticket"})
"""Kinds of pass that are worth a place; the others take seconds."""
FINISHED = "finished.json"
"""Of ``edgefleet_compression.passes.finished``: fingerprint of the work, name of the candidate's file, records."""
MOST_BYTES = 2 * 1024**3
MOST_AGE_S = 7 * 86400.0

log = logging.getLogger(__name__)


class PrefixShelf:
    """A folder of a host's finished trainings, by what was done up to them. The oldest go when there are too many."""

    def __init__(self, folder: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self._folder = folder
        self._most_bytes = most_bytes

    def lend(self, key: Mapping[str, Any], passes: Sequence[JsonObject], checkpoints: Path) -> bool:
        """Put the longest known beginning of the recipe where its step looks for it; False where none is known.

        key: what else decides the result: model, data, seed, threads and tools.
        """
        for index, name in reversed(list(_costly(key, passes))):
            found, target = self._folder / name, checkpoints / f"pass-{index}"
            if target.exists():  # a killed attempt of this very recipe came as far
                return False
            try:
                _link_finished(found, target)
                os.utime(found)
            except (OSError, ValueError, KeyError):  # not there, or taken away this moment
                shutil.rmtree(target, ignore_errors=True)
                continue
            return True
        return False

    def keep(self, key: Mapping[str, Any], passes: Sequence[JsonObject], checkpoints: Path) -> None:
        """Take over what a successful step left of its trainings."""
        for index, name in _costly(key, passes):
            left, place = checkpoints / f"pass-{index}", self._folder / name
            if place.exists() or not left.is_dir():
                continue
            partial = self._folder / f".{uuid.uuid4().hex}"
            try:
                _link_finished(left, partial)
                partial.rename(place)
            except (OSError, ValueError, KeyError) as err:
                log.warning("a finished training was not kept: %s", err)
                shutil.rmtree(partial, ignore_errors=True)
        try:
            self._make_room()
        except OSError as err:  # another worker of this host takes the same things away
            log.info("the shelf of finished trainings is tidied later: %s", err)

    def _make_room(self) -> None:
        if not self._folder.is_dir():
            return
        now, total = time.time(), 0  # files' times are those of the wall clock
        by_age = sorted(self._folder.iterdir(), key=lambda path: -path.stat().st_mtime)
        for path in by_age:
            total += sum(file.stat().st_size for file in path.iterdir())
            if total > self._most_bytes or now - path.stat().st_mtime > MOST_AGE_S:
                shutil.rmtree(path, ignore_errors=True)


def _costly(key: Mapping[str, Any], passes: Sequence[JsonObject]) -> Iterable[tuple[int, str]]:
    """Index and name of every beginning that ends with a costly pass."""
    for index, spec in enumerate(passes):
        if spec["kind"] in COSTLY:
            yield index, canonical_sha256({**key, "passes": list(passes[: index + 1])})


def _link_finished(source: Path, target: Path) -> None:
    """What a finished pass left, in another folder and without a copy of its bytes; the document that makes it count last."""
    document = json.loads((source / FINISHED).read_text())
    target.mkdir(parents=True)
    for name in (str(document["file"]), FINISHED):
        os.link(source / name, target / name)
