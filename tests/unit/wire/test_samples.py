"""Raw samples survive their blob exactly; anything damaged is refused."""

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefleet_agent.wire.samples import SamplesInvalid, decode_samples, encode_samples

INT64 = st.integers(-(2**63), 2**63 - 1)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.lists(st.tuples(INT64, INT64), max_size=50))
def test_columns_come_back_as_they_went_in(rows: list[tuple[int, int]]) -> None:
    columns = {"start_ns": [row[0] for row in rows], "latency_ns": [row[1] for row in rows]}
    header, decoded = decode_samples(encode_samples(columns, phase="measure"))
    assert decoded == columns
    assert (header["n"], header["phase"]) == (len(rows), "measure")


def test_the_layout_is_a_json_line_and_little_endian_columns() -> None:
    header, _, body = zlib.decompress(encode_samples({"a": [1], "b": [-2]})).partition(b"\n")
    assert b'"format": "edgefleet-samples/1"' in header
    assert body == struct.pack("<qq", 1, -2)


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(SamplesInvalid, match="differ in length"):
        encode_samples({"a": [1, 2], "b": [1]})


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"not zlib",
        encode_samples({"a": [1, 2, 3]})[:-5],
        zlib.compress(b"no header"),
        zlib.compress(b'{"format": "other/1", "columns": ["a"], "n": 0}\n'),
        zlib.compress(b'{"format": "edgefleet-samples/1", "columns": ["a"], "n": 2}\n' + bytes(8)),
        zlib.compress(b'{"format": "edgefleet-samples/1", "columns": ["a"], "n": -1}\n'),
    ],
)
def test_a_damaged_blob_is_refused(blob: bytes) -> None:
    with pytest.raises(SamplesInvalid):
        decode_samples(blob)


def test_a_blob_that_inflates_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgefleet_agent.wire.samples.MAX_BYTES", 1000)
    with pytest.raises(SamplesInvalid, match="more than 1000 bytes"):
        decode_samples(encode_samples({"a": [0] * 1000}))
