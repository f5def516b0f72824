"""Files that a killed step goes on from: tensors and plain values in one safetensors file, written whole or not at all.

Nothing is ever unpickled: a state is a tree of dicts, lists, numbers, strings, None and tensors; the tensors are the file's,
the rest is JSON in its metadata with ``{"$tensor": name}`` in the tensors' places.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

State = dict[str, Any]
"""A tree of plain values and tensors."""

STATE_KEY: Final = "edgefleet.checkpoint"
_MARK: Final = "$tensor"


@dataclass(frozen=True)
class CheckpointFolder:
    """Where one piece of work keeps its state. ``every_steps``: optimizer steps between two files within an epoch."""

    path: Path
    every_steps: int

    def sub(self, name: str) -> "CheckpointFolder":
        """Return the folder of a piece of work within this one."""
        return CheckpointFolder(self.path / name, self.every_steps)

    def save(self, name: str, state: Mapping[str, Any], *, fingerprint: str) -> None:
        """Replace the state of this name; ``fingerprint`` says of which work it is."""
        self.path.mkdir(parents=True, exist_ok=True)
        tensors: dict[str, Tensor] = {}
        document = {"fingerprint": fingerprint, "state": _packed(state, tensors)}
        path = self.path / f"{name}.safetensors"
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        partial.write_bytes(save(tensors, metadata={STATE_KEY: json.dumps(document)}))
        partial.replace(path)

    def load(self, name: str, *, fingerprint: str) -> State | None:
        """Return the state of this name, on the CPU; None if there is none, of other work, or not readable."""
        path = self.path / f"{name}.safetensors"
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as archive:
                document = json.loads(archive.metadata()[STATE_KEY])
                if document["fingerprint"] != fingerprint:
                    return None
                tensors = {key: archive.get_tensor(key).clone() for key in archive.keys()}  # noqa: SIM118 - no mapping
            found: State = _unpacked(document["state"], tensors)
        except (SafetensorError, ValueError, KeyError, TypeError):
            return None  # a disk that lost part of it: the work starts over, which gives the same result
        return found


def digest(*parts: Any) -> str:
    """Return a sha256 over JSON values, and over the types, shapes and bytes of mappings of tensors."""
    sha256 = hashlib.sha256()
    for part in parts:
        if isinstance(part, Mapping) and part and all(isinstance(value, Tensor) for value in part.values()):
            for name, tensor in part.items():
                sha256.update(f"{name}:{tensor.dtype}{tuple(tensor.shape)}".encode())
                sha256.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        else:
            sha256.update(json.dumps(part, sort_keys=True).encode())
    return sha256.hexdigest()


def _packed(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = f"t{len(tensors)}"
        tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {_MARK: name}
    if isinstance(value, Mapping):
        return {str(key): _packed(item, tensors) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_packed(item, tensors) for item in value]
    return value


def _unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if set(value) == {_MARK}:
            return tensors[value[_MARK]]
        return {key: _unpacked(item, tensors) for key, item in value.items()}
    if isinstance(value, list):
        return [_unpacked(item, tensors) for item in value]
    return value
