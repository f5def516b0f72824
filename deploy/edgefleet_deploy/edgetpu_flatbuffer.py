"""Reads FlatBuffers tables with every offset checked: a file from anywhere gives values or FileUnusable, never a crash.

Format: "FlatBuffers internals" (flatbuffers.dev): little endian; a table starts with the signed distance back to its
vtable, a vtable holds its own size, the table's size and one 16-bit offset per field (0: absent).
"""

import struct
from dataclasses import dataclass
from typing import Literal

from edgefleet_deploy.errors import FileUnusable

Kind = Literal["i8", "u8", "bool", "u16", "i32", "u32", "f32", "u64"]

_STRUCTS = {
    "i8": struct.Struct("<b"),
    "u8": struct.Struct("<B"),
    "bool": struct.Struct("<?"),
    "u16": struct.Struct("<H"),
    "i32": struct.Struct("<i"),
    "u32": struct.Struct("<I"),
    "f32": struct.Struct("<f"),
    "u64": struct.Struct("<Q"),
}
_VTABLE_HEADER_BYTES = 4
_OFFSET_BYTES = 4


def _damaged(what: str) -> FileUnusable:
    return FileUnusable(f"the file is truncated or damaged: {what}; produce or copy it again", code="file_damaged")


@dataclass(frozen=True)
class FlatTable:
    """One table of a FlatBuffers file; fields are asked for by their number in the schema, from 0."""

    data: bytes
    position: int

    def number(self, field: int, kind: Kind, default: float = 0) -> int:
        """Return an integer field, ``default`` where absent."""
        return int(self.real(field, kind, default))

    def real(self, field: int, kind: Kind, default: float = 0) -> float:
        """Return a number field, ``default`` where absent."""
        place = self._place(field)
        return default if place is None else _read(self.data, place, kind)

    def text(self, field: int) -> str:
        """Return a string field; empty where absent, replacement characters where it is not UTF-8."""
        return self.content(field).decode("utf-8", errors="replace")

    def content(self, field: int) -> bytes:
        """Return a vector of bytes; empty where absent."""
        start, length = self._vector(field, 1)
        return self.data[start : start + length]

    def integers(self, field: int) -> tuple[int, ...]:
        """Return a vector of 32-bit integers; empty where absent."""
        start, length = self._vector(field, 4)
        return struct.unpack_from(f"<{length}i", self.data, start)

    def n_elements(self, field: int) -> int:
        """Return the number of elements of a vector of any kind; 0 where absent."""
        return self._vector(field, 1)[1]

    def table(self, field: int) -> "FlatTable | None":
        """Return a table field, None where absent."""
        place = self._place(field)
        return None if place is None else FlatTable(self.data, _follow(self.data, place))

    def tables(self, field: int) -> "tuple[FlatTable, ...]":
        """Return a vector of tables; empty where absent."""
        start, length = self._vector(field, _OFFSET_BYTES)
        places = range(start, start + length * _OFFSET_BYTES, _OFFSET_BYTES)
        return tuple(FlatTable(self.data, _follow(self.data, place)) for place in places)

    def _place(self, field: int) -> int | None:
        vtable = self.position - int(_read(self.data, self.position, "i32"))
        size = int(_read(self.data, vtable, "u16"))
        entry = _VTABLE_HEADER_BYTES + 2 * field
        if entry + 2 > size:
            return None
        offset = int(_read(self.data, vtable + entry, "u16"))
        return self.position + offset if offset else None

    def _vector(self, field: int, element_bytes: int) -> tuple[int, int]:
        """Return the first element's position and the number of elements."""
        place = self._place(field)
        if place is None:
            return 0, 0
        header = _follow(self.data, place)
        length = int(_read(self.data, header, "u32"))
        start = header + _OFFSET_BYTES
        if start + length * element_bytes > len(self.data):
            raise _damaged(
                f"a vector of {length} elements at byte {start} ends beyond the file's {len(self.data)} bytes"
            )
        return start, length


def root_table(data: bytes) -> FlatTable:
    """Return the file's outermost table."""
    return FlatTable(data, _follow(data, 0))


def _follow(data: bytes, place: int) -> int:
    return place + int(_read(data, place, "u32"))


def _read(data: bytes, place: int, kind: str) -> float:
    reader = _STRUCTS[kind]
    if place < 0 or place + reader.size > len(data):
        raise _damaged(f"it points to byte {place}, but has {len(data)}")
    value: float = reader.unpack_from(data, place)[0]
    return value
