"""The page about recipes names every preset, architecture, kind of data and packaged weights."""

from pathlib import Path
from typing import get_args

import edgefleet_compression
from edgefleet_compression.data.specs import DataSpec
from edgefleet_compression.models.specs import ARCHITECTURES
from edgefleet_compression.presets import PRESETS
from edgefleet_compression.weights import PRETRAINED

PAGE = Path(edgefleet_compression.__file__).parents[2] / "docs" / "compression.md"


def test_page_names_every_preset_architecture_and_kind_of_data() -> None:
    text = PAGE.read_text(encoding="utf-8")
    kinds = [spec.model_fields["kind"].default for spec in get_args(get_args(DataSpec)[0])]
    assert len(kinds) == 7
    missing = [name for name in (*PRESETS, *ARCHITECTURES, *PRETRAINED) if f"`{name}`" not in text]
    missing += [kind for kind in kinds if f'"kind": "{kind}"' not in text]
    assert missing == []
