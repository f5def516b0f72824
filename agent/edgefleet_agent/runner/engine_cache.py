"""Engines built on this device, kept for the next run. Whatever is not certainly the wanted engine is built again."""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from typing import Any, Dict, List, NamedTuple, Optional

from edgefleet_agent.runner.backend import LoadRequest
from edgefleet_agent.runner.cuda_memory import GpuFacts

MAGIC = b"EDGEFLEET-ENGINE 1 "
SUFFIX = ".engine"
READ_BYTES = 1024 * 1024


class CachedEngine(NamedTuple):
    """An engine and what it was built from and for."""

    content: bytes
    origin: "Dict[str, Any]"


def hash_file(path: str) -> str:
    """SHA-256 of a file, lower-case hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        for chunk in iter(lambda: handle.read(READ_BYTES), b""):
            digest.update(chunk)
    return digest.hexdigest()


def engine_key(origin: "Dict[str, Any]") -> str:
    """SHA-256 over everything an engine depends on: the same origin, the same key."""
    return hashlib.sha256(json.dumps(origin, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def engine_origin(version: str, gpu: GpuFacts, release: "Optional[str]", request: LoadRequest) -> "Dict[str, Any]":
    """All that an engine depends on; ``release`` is that of Jetson Linux."""
    options = request.options
    plan = options.get("build_plan")
    return {
        "artifact_sha256": options.get("artifact_sha256") or hash_file(request.artifact),
        "tensorrt": version,
        "gpu": gpu.name,
        "compute_capability": gpu.compute_capability,
        "driver": gpu.driver_version,
        "cuda": gpu.runtime_version,
        "release": release,
        "build_plan": plan,
        "batch": int(options.get("batch", 1)) if plan is None else None,
    }


class EngineCache:
    """A folder of engines named by their key; the least recently used ones go when it gets too large."""

    def __init__(self, folder: str, max_bytes: int, free_floor_bytes: int) -> None:
        os.makedirs(folder, exist_ok=True)
        self._folder, self._max_bytes, self._floor = folder, max_bytes, free_floor_bytes

    def find(self, key: str) -> "Optional[CachedEngine]":
        """The engine if it is there and whole; a damaged one is thrown away."""
        path = self._path(key)
        try:
            with open(path, "rb") as handle:
                head = handle.readline()
                content = handle.read()
        except FileNotFoundError:
            return None
        origin = _checked_origin(head, content)
        if origin is None or engine_key(origin) != key:
            sys.stderr.write("the cached engine {} is damaged and will be built again\n".format(key))
            self.drop(key)
            return None
        os.utime(path)
        return CachedEngine(content, origin)

    def store(self, origin: "Dict[str, Any]", content: bytes) -> bool:
        """Keep an engine, whole or not at all; False where there is no room for it."""
        head = {"origin": origin, "sha256": hashlib.sha256(content).hexdigest()}
        line = MAGIC + json.dumps(head, sort_keys=True).encode() + b"\n"
        if not self._make_room(len(line) + len(content)):
            sys.stderr.write("no room to keep an engine of {} bytes in {}\n".format(len(content), self._folder))
            return False
        descriptor, part = tempfile.mkstemp(dir=self._folder, suffix=".part")
        try:
            with os.fdopen(descriptor, "wb") as handle:
                handle.write(line)
                handle.write(content)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(part, self._path(engine_key(origin)))
        except OSError as err:
            sys.stderr.write("the engine could not be kept in {}: {}\n".format(self._folder, err))
            os.unlink(part)
            return False
        return True

    def drop(self, key: str) -> None:
        """Forget an engine."""
        try:
            os.unlink(self._path(key))
        except FileNotFoundError:
            return

    def _path(self, key: str) -> str:
        return os.path.join(self._folder, key + SUFFIX)

    def _make_room(self, needed_bytes: int) -> bool:
        """Remove parts that a killed run left, then engines not used for longest."""
        if needed_bytes > self._max_bytes:
            return False
        engines = self._oldest_first()
        used = sum(entry[1] for entry in engines)
        for path, size_bytes in engines:
            if used + needed_bytes <= self._max_bytes and self._free_bytes() >= needed_bytes + self._floor:
                break
            os.unlink(path)
            used -= size_bytes
        return self._free_bytes() >= needed_bytes + self._floor

    def _oldest_first(self) -> "List[Any]":
        """Path and size; only one run at a time uses the device, so that a part is always a left-over."""
        found = []
        for entry in os.scandir(self._folder):
            if entry.name.endswith(".part"):
                os.unlink(entry.path)
            elif entry.name.endswith(SUFFIX):
                facts = entry.stat()
                found.append((facts.st_mtime, entry.path, facts.st_size))
        return [(path, size_bytes) for _, path, size_bytes in sorted(found)]

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self._folder).free


def open_cache(options: "Dict[str, Any]") -> "Optional[EngineCache]":
    """The cache that the agent named; None where it named none."""
    named = options.get("engine_cache")
    if not named:
        return None
    return EngineCache(named["folder"], int(named["max_bytes"]), int(named["free_floor_bytes"]))


def _checked_origin(head: bytes, content: bytes) -> "Optional[Dict[str, Any]]":
    if not head.startswith(MAGIC):
        return None
    try:
        facts = json.loads(head[len(MAGIC) :].decode())
        intact = facts["sha256"] == hashlib.sha256(content).hexdigest()
        return dict(facts["origin"]) if intact else None
    except (ValueError, KeyError, TypeError):
        return None
