import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.benchmarks.compression_rows.carrying_out import NotFinished, Workshop
from tests.benchmarks.compression_rows.catalogue import ROWS, chosen
from tests.benchmarks.compression_rows.controls import compare
from tests.benchmarks.compression_rows.headline import int4_training
from tests.benchmarks.compression_rows.models import DATA, MODELS
from tests.benchmarks.compression_rows.orders import rows as order_rows
from tests.benchmarks.compression_rows.paired import best_arm, joint_against_sequential, paired_test
from tests.benchmarks.compression_rows.row import Goal, Outcome, Result, Row, Timing
from tests.benchmarks.compression_rows.store import Store, content_key
from tests.benchmarks.compression_rows.tables import tables

from edgefleet_compression.passes.specs import FakeQuant, Train
from edgefleet_compression.recipe import Recipe
from edgefleet_deploy.targets import TARGETS


def outcome(*, seed: int = 0, size_bytes: int = 100, accuracy: float = 0.9, macs: int = 50) -> Outcome:
    return Outcome(
        seed=seed,
        sha256="",
        size_bytes=size_bytes,
        gzip_bytes=size_bytes // 2,
        accuracy=accuracy,
        n_test=1000,
        validation_accuracy=accuracy,
        macs=macs,
        n_parameters=10,
        sparsity=0.25,
        cost_s=3.0,
    )


def row(name: str = "a", **changes: object) -> Row:
    made = Row(name=name, model="resnet20", recipe=Recipe(name="r"), target="onnxruntime", table="T")
    return replace(made, **changes)  # type: ignore[arg-type]


def figures(one: Row, *outcomes: Outcome, timing: Timing | None = None) -> dict[str, object]:
    return Result(one, "onnxruntime", "data", outcomes, outcome(size_bytes=800, macs=100), timing).figures()


def test_ratios_are_baseline_over_row_and_retention_is_row_over_baseline() -> None:
    found = figures(row(), outcome(size_bytes=100, accuracy=0.855, macs=50))
    assert (found["size_ratio"], found["macs_ratio"], found["retention"]) == (8.0, 2.0, pytest.approx(0.95))


def test_accuracy_is_the_mean_over_the_seeds() -> None:
    found = figures(row(seeds=(0, 1)), outcome(accuracy=0.8), outcome(seed=1, accuracy=0.6))
    assert found["accuracy"] == pytest.approx(0.7)
    assert found["seeds"] == [0, 1]


def test_what_was_not_measured_is_null() -> None:
    found = figures(row(), outcome())
    assert found["speedup_p50"] is None
    assert found["peak_memory_bytes"] is None


def test_every_required_field_is_there() -> None:
    wanted = (
        "model, data, recipe, seeds, size_bytes, gzip_bytes, size_ratio, macs, macs_ratio, sparsity, peak_memory_bytes, "
        "accuracy, baseline_accuracy, retention, speedup_p50, cost_s"
    )
    assert set(wanted.split(", ")) <= set(figures(row(), outcome()))


@pytest.mark.parametrize(
    ("goal", "missed"),
    [
        (Goal(retention=1.0, size_ratio=8.0), []),
        (Goal(size_ratio=8.1), ["size_ratio"]),
        (Goal(retention=0.9, speedup=2.0), ["speedup_p50"]),
    ],
)
def test_a_goal_is_missed_below_its_bound_or_where_the_figure_is_unknown(goal: Goal, missed: list[str]) -> None:
    assert figures(row(goal=goal), outcome())["missed"] == missed


@pytest.mark.parametrize("changes", [{"seeds": ()}, {"seeds": (1, 1)}, {"name": ""}])
def test_a_row_without_name_or_distinct_seeds_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="seeds"):
        row(**changes)  # type: ignore[arg-type]


def test_names_of_all_rows_differ_and_every_reference_exists() -> None:
    names = {one.name for one in ROWS}
    assert len(names) == len(ROWS)
    assert {one.control for one in ROWS} - {None} <= names
    assert {name for one in ROWS for name in one.other_controls} <= names
    assert {one.model for one in ROWS} <= set(MODELS)
    assert {one.data or MODELS[one.model].data for one in ROWS} <= set(DATA)
    assert {one.target for one in ROWS} <= set(TARGETS)


def test_quick_rows_are_part_of_the_full_ones_and_rows_can_be_named() -> None:
    assert {one.name for one in chosen("quick", [])} < {one.name for one in chosen("full", [])}
    assert [one.name for one in chosen("quick", ["half-macs"])] == ["half-macs"]
    with pytest.raises(KeyError):
        chosen("quick", ["no-such-row"])


def test_a_control_has_the_budget_of_the_row_it_controls() -> None:
    by_name = {one.name: one for one in ROWS}
    for one in ROWS:
        if one.control is not None and one.model != "minilm-sst2":
            assert steps_of(one) == steps_of(by_name[one.control]), one.name


def test_all_arms_train_for_the_same_steps() -> None:
    arms = [one for one in order_rows() if one.model == "digits-resnet"]
    assert len(arms) == 8
    assert len({steps_of(one) for one in arms}) == 1


def steps_of(one: Row) -> int:
    budgets = [spec.budget for spec in one.recipe.passes if isinstance(spec, Train)]
    return sum(budget.steps or 1000 * (budget.epochs or 0) for budget in budgets)


def test_finished_work_is_found_by_all_that_went_into_it_and_unfinished_is_not(tmp_path: Path) -> None:
    store, key = Store(tmp_path), content_key(recipe={"b": 1, "a": 2}, seed=0)
    (store.place(key) / "candidate.safetensors").write_bytes(b"half")
    assert store.read(key) is None
    store.finish(key, {"cost_s": 1.5})
    assert store.read(content_key(seed=0, recipe={"a": 2, "b": 1})) == {"cost_s": 1.5}
    assert store.read(content_key(seed=1, recipe={"a": 2, "b": 1})) is None


def test_nothing_is_carried_out_where_finished_rows_alone_are_wanted(tmp_path: Path) -> None:
    wanted = next(one for one in ROWS if one.model == "digits-resnet")
    with pytest.raises(NotFinished):
        Workshop(tmp_path, Store(tmp_path), threads=1, only_finished=True).result(wanted)


def test_tables_name_goals_controls_and_what_was_not_timed() -> None:
    timing = Timing(0.5, 2 * 1024 * 1024, 2.5, (2.4, 2.6), "faster", "valid", 0.1)
    rows = [
        figures(row("best", control="other", goal=Goal(size_ratio=9.0)), outcome(accuracy=0.9), timing=timing),
        figures(row("other", note="control"), outcome(accuracy=0.8)),
    ]
    text = tables(json.loads(json.dumps(rows)))
    assert "| `best` | onnxruntime | 100 | 50 | 8.00 | 2.00 | 0.250 | 90.00 | 1.0000 | 2.50 | 2.0 | 1 | 3 |" in text
    assert "**missed** size_ratio" in text
    assert "| `best` | `other` | +10.00 | ±3.10 | 1.00 | beats it |" in text
    assert "| 80.00 | 0.8889 | - | - |" in text


def test_a_difference_within_the_test_samples_chance_beats_nothing() -> None:
    """0.90 against 0.88 of 1,000 samples: 1.96 sqrt(0.09 / 1000 + 0.1056 / 1000) = 0.0274."""
    found = compare(figures(row(), outcome(accuracy=0.9)), figures(row(), outcome(accuracy=0.88)))
    assert found.chance == pytest.approx(0.0274, abs=1e-4)
    assert found.verdict == "no difference shown"


def test_several_seeds_are_compared_in_pairs() -> None:
    ahead = [outcome(seed=seed, accuracy=0.9 + 0.001 * seed) for seed in (0, 1, 2)]
    behind = [outcome(seed=seed, accuracy=0.89 + 0.0012 * seed) for seed in (0, 1, 2)]
    both = [figures(row(seeds=(0, 1, 2)), *outcomes) for outcomes in (ahead, behind)]
    assert compare(both[0], both[1]).verdict == "beats it"
    assert compare(both[1], both[0]).verdict == "**behind it**"


def test_the_sweep_has_a_line_per_criterion_and_says_what_random_gives() -> None:
    table = "Sweep, weights, no training afterwards"
    rows = [
        figures(row("weights-taylor-50", table=table, control="weights-random-50"), outcome(accuracy=0.8)),
        figures(row("weights-random-50", table=table), outcome(accuracy=0.1)),
    ]
    text = tables(rows)
    assert "| taylor | **80.0** (+70.0)+ |" in text
    assert "| random | 10.0 |" in text


def test_paired_t_test_agrees_with_a_worked_example() -> None:
    """Student's sleep data (1908), as in R's ?sleep: t = -4.0621, df = 9, p = 0.002833, interval -2.4599 to -0.7001."""
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = paired_test(first, second)
    assert found.difference == pytest.approx(-1.58)
    assert found.p_t == pytest.approx(0.002833, abs=1e-6)
    assert found.interval == pytest.approx((-2.4598858, -0.7001142), abs=1e-6)
    assert found.d_z == pytest.approx(-4.0621 / 10**0.5, abs=1e-4)


def test_equal_arms_have_no_p_value_and_single_pairs_are_refused() -> None:
    assert paired_test([0.5, 0.5], [0.5, 0.5]).p_t is None
    with pytest.raises(ValueError, match="at least two"):
        paired_test([0.5], [0.4])


def test_the_best_order_is_chosen_by_validation_accuracy() -> None:
    assert best_arm({"pqd": [0.8, 0.9], "dqp": [0.9, 0.9]}) == "dqp"


def test_joint_is_reported_only_when_every_order_is_there() -> None:
    rows = [arm(name, 0.9) for name in ("pqd", "pdq", "qpd", "qdp", "dpq", "dqp")]
    assert joint_against_sequential(rows) == ""
    assert "joint behind" in joint_against_sequential([*rows, arm("joint", 0.8)])


def arm(name: str, accuracy: float) -> dict[str, object]:
    found = [accuracy + 0.001 * seed * (1 if name == "joint" else 2) for seed in range(6)]
    return {
        "name": f"digits-{name}",
        "recipe": {"name": name},
        "outcomes": [{"accuracy": value, "validation_accuracy": value} for value in found],
    }


def test_the_eighth_ends_with_four_bit_weights_and_float_activations() -> None:
    spec = int4_training().ingredient(FakeQuant)
    assert spec is not None
    assert (spec.weights.bits, spec.activations) == (4, None)
