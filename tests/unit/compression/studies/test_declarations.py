"""The seven declarations: whole, carried by targets that exist, and the same after a trip through JSON."""

import pytest
from pydantic import ValidationError
from tests.unit.compression.studies.study_examples import small_study

from edgefleet_compression.errors import StudyInvalid
from edgefleet_compression.models.specs import ARCHITECTURES
from edgefleet_compression.models.specs.named import NAMED
from edgefleet_compression.recipe import parse_recipe
from edgefleet_compression.studies.building import SMALL, arm, channel_amount, pruned, sensitivity
from edgefleet_compression.studies.claims import SpeedClaim
from edgefleet_compression.studies.declaration import StudyDeclaration, StudyScale, declaration_sha256
from edgefleet_compression.studies.registry import STUDIES, find_study
from edgefleet_compression.studies.units import units_of
from edgefleet_deploy.targets import TARGETS

SCALES = [
    pytest.param(study, scale, id=f"{study.name}-{scale.name}") for study in STUDIES.values() for scale in study.scales
]


def test_there_are_seven_each_with_both_scales() -> None:
    assert [study.number for study in STUDIES.values()] == [1, 2, 3, 4, 5, 6, 7]
    assert all({scale.name for scale in study.scales} == {"small", "full"} for study in STUDIES.values())


@pytest.mark.parametrize(("study", "scale"), SCALES)
def test_every_recipe_is_valid_for_a_target_that_takes_its_format(study: StudyDeclaration, scale: StudyScale) -> None:
    for item in scale.arms:
        assert parse_recipe(item.recipe.model_dump(mode="json")) == item.recipe
        assert (item.recipe.precision or "fp32") in TARGETS[item.target].precisions, item.name
        assert scale.model(item.model).architecture in {*ARCHITECTURES, *NAMED}


@pytest.mark.parametrize(("study", "scale"), SCALES)
def test_whatever_a_claim_or_test_names_has_six_seeds(study: StudyDeclaration, scale: StudyScale) -> None:
    named = {name for claim in scale.claims for name in claim.named_arms}
    named |= {name for item in scale.comparisons for name in (item.a, item.b)}
    assert {len(scale.seeds_of(scale.arm(name))) for name in named} == {6}


@pytest.mark.parametrize(("study", "scale"), SCALES)
def test_speed_claims_are_about_boards_of_the_scale(study: StudyDeclaration, scale: StudyScale) -> None:
    assert {claim.board for claim in scale.claims if isinstance(claim, SpeedClaim)} <= set(scale.boards)


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES.keys())
def test_json_gives_the_same_study_with_the_same_units(study: StudyDeclaration) -> None:
    again = StudyDeclaration.model_validate_json(study.model_dump_json())
    assert declaration_sha256(again, "small") == declaration_sha256(study, "small")
    keys = [[unit.key for unit in units_of(item.scale("small"), {})] for item in (study, again)]
    assert keys[0] == keys[1]


def test_small_scales_need_no_data_from_elsewhere() -> None:
    assert all(study.scale("small").external_data == () for study in STUDIES.values())


def test_a_changed_threshold_is_another_declaration() -> None:
    assert declaration_sha256(small_study(), "small") != declaration_sha256(small_study(supported_from=6.0), "small")


def test_names_of_arms_are_no_part_of_a_unit() -> None:
    """So that two studies, or two arms, that do the same share the work."""
    scale = small_study().scale("small")
    renamed = scale.model_copy(update={"arms": (scale.arms[0].model_copy(update={"name": "other"}), scale.arms[1])})
    assert units_of(renamed, {})[0].key == units_of(scale, {})[0].key


def test_studies_are_found_by_name_and_number() -> None:
    assert find_study("data-free") is find_study("4")
    with pytest.raises(StudyInvalid) as caught:
        find_study("eighth")
    assert caught.value.code == "study_unknown"


def test_channel_amount_gives_the_ratio_of_parameters() -> None:
    """Half of all channels leave a quarter of the weights; three quarters a sixteenth."""
    assert [channel_amount(ratio) for ratio in (4, 16)] == [0.5, 0.75]


def test_sensitivity_varies_rate_by_ten_percent_and_halves_the_data() -> None:
    base = arm("base", pruned(4), SMALL.train())
    lower, higher, half = sensitivity(base, (0, 1))
    rates = [item.recipe.passes[1].optimizer.lr for item in (lower, higher)]  # type: ignore[union-attr]
    assert rates == pytest.approx([0.018, 0.022])
    assert half.train_share == 0.5
    assert {item.role for item in (lower, higher, half)} == {"sensitivity"}


@pytest.mark.parametrize(
    ("place", "value", "code"),
    [
        (("claims", 0, "a", "arms"), ["nobody"], "name_unknown"),
        (("models", 0, "data"), "elsewhere", "name_unknown"),
        (("arms", 0, "model"), "vgg", "name_unknown"),
        (("arms", 0, "name"), "narrow", "name_repeated"),
        (("data", 0, "shares"), [0.5, 0.5, 0.5], "shares_invalid"),
        (("claims", 0, "falsified_below"), 9.0, "thresholds_reversed"),
        (("claims", 0, "a", "choose"), "best", "choice_invalid"),
    ],
)
def test_broken_declarations_are_refused(place: "tuple[str | int, ...]", value: object, code: str) -> None:
    document = small_study().model_dump(mode="json")
    inside = document["scales"][0]
    for step in place[:-1]:
        inside = inside[step]
    inside[place[-1]] = value
    with pytest.raises(ValidationError) as caught:
        StudyDeclaration.model_validate(document)
    assert code in {item["type"] for item in caught.value.errors()}
