"""One JSON form for one value, and its hash: the key of a cache."""

import hashlib
import json


def canonical_sha256(value: object) -> str:
    """SHA-256 of the value's JSON with sorted keys and without spaces."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
