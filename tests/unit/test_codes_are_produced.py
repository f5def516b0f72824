"""Every reason and error code of the agent is asserted, or expected in a parametrized table, by some test.

Looks at the tests' sources: a code counts where it stands in an ``assert`` or in the decorator of a test, as
``Reason.HOST_BUSY`` or by its value. What a test only puts in as material does not count.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from edgefleet_agent.wire.reasons import ErrorCode, Reason

TESTS = Path(__file__).resolve().parents[1]
ENUMS = ("Reason", "ErrorCode")


def expectations(tree: ast.AST) -> Iterator[ast.AST]:
    """The asserts of a module and the decorators of its tests."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield node
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield from node.decorator_list


def named_in(node: ast.AST) -> Iterator[str]:
    """Members by their qualified names, and strings."""
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id in ENUMS:
            yield f"{part.value.id}.{part.attr}"
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


@cache
def expected_codes() -> frozenset[str]:
    found: set[str] = set()
    for path in TESTS.rglob("test_*.py"):
        if path != Path(__file__).resolve():
            for node in expectations(ast.parse(path.read_text())):
                found |= set(named_in(node))
    return frozenset(found)


@pytest.mark.parametrize("code", [*Reason, *ErrorCode], ids=str)
def test_some_test_produces_the_code(code: Reason | ErrorCode) -> None:
    assert {f"{type(code).__name__}.{code.name}", code.value} & expected_codes(), (
        f"no test expects {code.value}; write one that makes the agent or the controller say it"
    )


def test_material_of_a_test_is_no_expectation() -> None:
    tree = ast.parse("def test_x():\n    given = Reason.HOST_BUSY\n    assert given is Reason.PAGING, 'text'\n")
    assert {name for node in expectations(tree) for name in named_in(node)} == {"Reason.PAGING", "text"}
