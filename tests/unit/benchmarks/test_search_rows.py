"""Parts of the search bench: the table's file, the order of work, its statistics."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.benchmarks.search_rows.comparing import compare, holm
from tests.benchmarks.search_rows.plotting import draw
from tests.benchmarks.search_rows.resnet20 import SPACE
from tests.benchmarks.search_rows.searching import ARMS, attained_front, run, spec_of, trials_to
from tests.benchmarks.search_rows.table import GridRow, Table

from edgefleet_compression.search.prefixes import shared_prefix
from edgefleet_compression.search.space import Plan, grid

WORTH = {"fp32": 1.0, "fp16": 0.5, "int8": 0.25, "int4": 0.125}


def made_up(plan: Plan) -> GridRow:
    left = (1.0 - float(plan.point["channels"])) * (1.0 - float(plan.point["blocks"]) / 9)
    part = WORTH[str(plan.point["format"])[:4]]
    return GridRow(
        point=dict(plan.point),
        size_bytes=int(1_000_000 * left * part),
        accuracy_validation=0.9 * left**0.25 * (1.0 - 0.02 / part / 8),
        accuracy_dev=0.5,
        latency_ratio=left * (0.5 + part / 2),
        latency_ratio_low=left * (0.49 + part / 2),
        latency_ratio_high=left * (0.51 + part / 2),
        macs=1,
        n_parameters=1,
        load_1m=None,
        cost_s=0.0,
        sha256=plan.key,
    )


@pytest.fixture(scope="module")
def table() -> Table:
    plans = grid(SPACE)
    rows = {plan.key: made_up(plan) for plan in plans}
    baseline = next(row for row in rows.values() if row.point["format"] == "fp32" and row.point["blocks"] == 0)
    return Table(SPACE, baseline, rows, {"host": "made up"})


def test_the_grid_has_at_least_two_hundred_recipes() -> None:
    assert len(grid(SPACE)) == 216


def test_recipes_of_one_structure_share_their_training() -> None:
    formats = [plan.recipe for plan in grid(SPACE) if (plan.point["blocks"], plan.point["channels"]) == (2, 0.5)]
    assert len(formats) == 18
    assert [spec.kind for spec in shared_prefix(formats)] == ["remove_blocks", "structured_prune", "train"]


def test_a_table_survives_its_file(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    table.write(path)
    read = Table.read(path)
    assert read.space == table.space
    assert list(read.rows) == list(table.rows)
    assert read.rows[next(iter(table.rows))].size_bytes == table.rows[next(iter(table.rows))].size_bytes
    assert path.stat().st_size < 100_000


def test_a_search_of_the_table_finds_more_and_more_of_its_volume(table: Table) -> None:
    course = run(table, "random", 0, 20)
    assert len(course.shares) == len(set(course.keys)) == 20
    assert list(course.shares) == sorted(course.shares)
    assert 0.0 < course.shares[-1] <= 1.0
    assert trials_to(course, course.shares[4]) == 1 + course.shares.index(course.shares[4])
    assert trials_to(course, 1.1) is None


def test_half_of_the_seeds_attain_what_both_of_two_do(table: Table) -> None:
    courses = [run(table, "random", seed, 4) for seed in (0, 1)]
    spec = spec_of(table, ARMS["random"], 0, 4)
    front = attained_front(table, spec, courses)
    assert {tuple(point) for point in front} == {("accuracy", "size_bytes", "latency_p50_ratio")}
    picture = ElementTree.fromstring(draw({"random": courses}, 4, 0.95))
    assert len(picture.findall("{http://www.w3.org/2000/svg}polyline")) == 1


def test_p_values_are_adjusted_for_their_number() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == {"a": pytest.approx(0.03), "c": 0.06, "b": 0.06}


def test_five_seeds_that_are_all_better_cannot_go_below_one_in_126() -> None:
    found = compare([6.0, 7.0, 8.0, 9.0, 10.0], {"random": [1.0, 2.0, 3.0, 4.0, 5.0]})["random"]
    assert found.p == pytest.approx(2 / 252)  # 10 choose 5 orders, both ends
    assert found.probability_better == 1.0
    assert (found.median_first, found.median_second) == (8.0, 3.0)
