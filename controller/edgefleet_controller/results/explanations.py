"""What codes of verdicts and errors mean and what to do about them, in the words of docs/reasons.md."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

_ROW = re.compile(r"^\| `(?P<code>[a-z0-9_]+)` \| (?P<meaning>[^|]+) \| (?P<advice>[^|]+) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Explanation:
    """A code in plain words."""

    code: str
    meaning: str
    advice: str


def parse_explanations(markdown: str) -> dict[str, list[str]]:
    """Code -> meaning and advice, from the tables of docs/reasons.md; ``explanations.json`` holds what this returns.

    The page is not part of the wheel, so what it says is kept beside this module too; a test compares them.
    """
    return {match["code"]: [match["meaning"].strip(), match["advice"].strip()] for match in _ROW.finditer(markdown)}


@cache
def _explanations() -> Mapping[str, Explanation]:
    stored = json.loads(files(__package__).joinpath("explanations.json").read_text(encoding="utf-8"))
    return MappingProxyType({code: Explanation(code, *words) for code, words in stored.items()})


def explain(code: str) -> Explanation:
    """The code in plain words; one of a newer agent is shown as it is."""
    known = _explanations().get(code)
    return known or Explanation(code, "This controller does not know the code.", "Upgrade the controller.")
