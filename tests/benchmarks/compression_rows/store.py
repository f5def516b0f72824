"""Finished work, by the hash of all that went into it: a bench that is stopped goes on where it was."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def content_key(**parts: Any) -> str:
    """Return the sha256 of the parts' canonical JSON."""
    document = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(document.encode()).hexdigest()


@dataclass(frozen=True)
class Store:
    """Folders named by key, each with a JSON document that is written last and says that the rest is whole."""

    folder: Path

    def read(self, key: str) -> dict[str, Any] | None:
        """Return the document of a finished piece of work, or None."""
        path = self.place(key) / "done.json"
        if not path.is_file():
            return None
        document: dict[str, Any] = json.loads(path.read_text())
        return document

    def finish(self, key: str, document: Mapping[str, Any]) -> None:
        """Record that everything in the key's folder is whole."""
        place = self.place(key)
        partial = place / "done.json.partial"
        partial.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
        partial.replace(place / "done.json")

    def place(self, key: str) -> Path:
        """Return the key's folder, made if it is not there."""
        place = self.folder / key[:20]
        place.mkdir(parents=True, exist_ok=True)
        return place
