"""The pages on compression name everything that a recipe may say, and every recipe on them is one."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

import edgefleet_compression
from edgefleet_compression.criteria import CRITERIA
from edgefleet_compression.data.specs import DataSpec
from edgefleet_compression.metrics import METRICS, UNSUPPORTED_METRICS, UNSUPPORTED_TASKS
from edgefleet_compression.models.specs import ARCHITECTURES
from edgefleet_compression.passes.specs import AnyPass, Ingredient, ObserverName, Pace, SparsityStructure
from edgefleet_compression.passes.specs.quantize import Calibration
from edgefleet_compression.passes.specs.remove_blocks import BlockCriterionName
from edgefleet_compression.passes.specs.structured_prune import PrunableStructure
from edgefleet_compression.passes.specs.training import LearningRateSchedule
from edgefleet_compression.presets import PRESETS
from edgefleet_compression.recipe import RULE_CODES, parse_recipe
from edgefleet_compression.schedules import CURVES
from edgefleet_compression.teachers import TEACHERS
from edgefleet_compression.weights import PRETRAINED

DOCS = Path(edgefleet_compression.__file__).parents[2] / "docs"
PAGES = {
    str(path.relative_to(DOCS)): path.read_text() for path in [DOCS / "compression.md", *DOCS.glob("compression/*.md")]
}
TEXT = "\n".join(PAGES.values())
CODE = re.compile(r"^```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def kinds(union: Any) -> list[str]:
    """The values of ``kind`` in a discriminated union."""
    return [spec.model_fields["kind"].default for spec in get_args(get_args(union)[0])]


def choices(model: Any, field: str) -> tuple[str, ...]:
    """What a field with a closed list of values may be."""
    return tuple(get_args(model.model_fields[field].annotation))


NAMES: dict[str, Any] = {
    "preset": PRESETS,
    "architecture": ARCHITECTURES,
    "pretrained": PRETRAINED,
    "pass": kinds(AnyPass),
    "ingredient": kinds(Ingredient),
    "criterion": CRITERIA,
    "block criterion": get_args(BlockCriterionName),
    "schedule": CURVES,
    "pace": kinds(Pace),
    "learning rate": choices(LearningRateSchedule, "name"),
    "structure": (*get_args(SparsityStructure), *get_args(PrunableStructure)),
    "teacher": TEACHERS,
    "observer": get_args(ObserverName),
    "calibration source": choices(Calibration, "source"),
    "metric": (*METRICS, *UNSUPPORTED_METRICS),
    "task": UNSUPPORTED_TASKS,
    "rule": RULE_CODES,
    "data": kinds(DataSpec),
}


@pytest.mark.parametrize("what", NAMES)
def test_every_name_is_on_some_page(what: str) -> None:
    assert len(NAMES[what]) > 0
    missing = [name for name in NAMES[what] if f"`{name}`" not in TEXT and f'"kind": "{name}"' not in TEXT]
    assert missing == []


def blocks() -> Iterator[Any]:
    for page, text in PAGES.items():
        for index, block in enumerate(CODE.findall(text)):
            yield pytest.param(block, id=f"{page}-{index}")


@pytest.mark.parametrize("block", list(blocks()))
def test_every_recipe_on_a_page_is_one(block: str) -> None:
    """A block is a recipe, or one pass of it."""
    document = json.loads(block)
    parse_recipe({"name": "page", "passes": [document]} if "kind" in document else document)


@pytest.mark.parametrize("kind", kinds(AnyPass))
def test_every_pass_has_a_recipe_on_some_page(kind: str) -> None:
    assert any(f'"kind": "{kind}"' in block for block in CODE.findall(TEXT))


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere_and_every_page_is_in_the_index(page: str) -> None:
    for target in re.findall(r"\]\(([a-z/_-]+\.(?:md|json))\)", PAGES[page]):
        assert (DOCS / page).parent.joinpath(target).is_file(), target
    assert page == "compression.md" or f"]({page})" in PAGES["compression.md"]
