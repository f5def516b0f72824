"""How studies write JSON: sorted, one line break at the end, so that equal documents are equal files."""

import json
from typing import Any


def dumped(document: Any) -> str:
    """Return the JSON text of a document."""
    return json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"
