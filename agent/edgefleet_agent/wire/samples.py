r"""Raw samples as one compressed, self-describing blob.

Layout: zlib stream of one JSON header line and then each column as little-endian int64 in the order of the header:
``{"format": "edgefleet-samples/1", "columns": ["start_ns", "latency_ns"], "n": 700, ...}\\n<int64 x n><int64 x n>``.
"""

import json
import zlib
from array import array
from collections.abc import Mapping, Sequence
from sys import byteorder

from edgefleet_agent.wire.base import JsonObject

FORMAT = "edgefleet-samples/1"
MAX_BYTES = 256 * 1024 * 1024
"""Refuses to inflate more than this; 16 million samples of two columns."""


class SamplesInvalid(ValueError):
    """The blob is not an edgefleet-samples file; it was truncated or is of another format."""


def encode_samples(columns: Mapping[str, Sequence[int]], **header: object) -> bytes:
    """Pack equally long integer columns (values fit int64) and extra header fields."""
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise SamplesInvalid("columns differ in length: {}".format({k: len(v) for k, v in columns.items()}))
    head = dict(header, format=FORMAT, columns=list(columns), n=lengths.pop() if lengths else 0)
    body = b"".join(_int64_le(values) for values in columns.values())
    return zlib.compress(json.dumps(head, sort_keys=True).encode() + b"\n" + body, 6)


def decode_samples(blob: bytes) -> tuple[JsonObject, dict[str, list[int]]]:
    """Header and columns of a blob; raises SamplesInvalid when it is truncated, too large or of another format."""
    header, columns = decode_arrays(blob)
    return header, {name: values.tolist() for name, values in columns.items()}


def decode_arrays(blob: bytes) -> "tuple[JsonObject, dict[str, array[int]]]":
    """The same as arrays of int64, which numpy takes as they are."""
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(blob, MAX_BYTES)
    except zlib.error as err:
        raise SamplesInvalid("not a zlib stream: {}".format(err)) from err
    if not inflater.eof:
        raise SamplesInvalid("the stream is truncated or inflates to more than {} bytes".format(MAX_BYTES))
    head_line, separator, body = raw.partition(b"\n")
    try:
        header = json.loads(head_line)
    except ValueError as err:
        raise SamplesInvalid("no JSON header line") from err
    if not separator or not isinstance(header, dict) or header.get("format") != FORMAT:
        raise SamplesInvalid("not in format {}".format(FORMAT))
    return header, _columns(header, body)


def _columns(header: JsonObject, body: bytes) -> "dict[str, array[int]]":
    names, n = header.get("columns"), header.get("n")
    if not isinstance(names, list) or not isinstance(n, int) or n < 0 or len(body) != 8 * n * len(names):
        raise SamplesInvalid("header and body disagree: n={}, columns={}, {} bytes".format(n, names, len(body)))
    return {str(name): _from_int64_le(body[8 * n * i : 8 * n * (i + 1)]) for i, name in enumerate(names)}


def _int64_le(values: Sequence[int]) -> bytes:
    packed = array("q", values)
    if byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _from_int64_le(raw: bytes) -> "array[int]":
    packed = array("q")
    packed.frombytes(raw)
    if byteorder == "big":
        packed.byteswap()
    return packed
