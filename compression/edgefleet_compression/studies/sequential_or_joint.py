"""Study 2: prune, quantize and distill one after the other in every order, or at once."""

from collections.abc import Iterator
from typing import Any, Final

from edgefleet_compression.orders import joint_recipe, sequential_orders
from edgefleet_compression.passes.specs import Budget, Distill, LossWeights, Sparsify, StructuredPrune
from edgefleet_compression.recipe import Recipe
from edgefleet_compression.studies.building import (
    CIFAR,
    DIGITS,
    ONE_SEED,
    RESNET_20,
    SIX_SEEDS,
    SMALL_RESNET,
    arm,
    sensitivity,
)
from edgefleet_compression.studies.claims import Chosen, Comparison, DifferenceClaim
from edgefleet_compression.studies.declaration import Arm, StudyDeclaration, StudyScale

PRUNE: Final = Sparsify(amount=0.75)
ORDERS: Final = tuple(recipe.name for recipe in sequential_orders(Budget(steps=3)))


def _joint(budget: Budget, batch_size: int, **changes: Any) -> Recipe:
    return joint_recipe(budget, **{"prune": PRUNE, "batch_size": batch_size, **changes})


def _arms(
    budget: Budget, batch_size: int, thinner: StructuredPrune, seeds: tuple[int, ...], few: tuple[int, ...]
) -> Iterator[Arm]:
    """Yield joint, joint with balanced gradients, the six orders and the ablations; all begin with the same thinner network."""
    joint = arm("joint", thinner, *_joint(budget, batch_size).passes, seeds=seeds, factors={"order": "joint"})
    yield joint
    balanced = _joint(budget, batch_size, loss_weights=LossWeights(), gradient_scaling="adaptive")
    yield arm(
        "joint-balanced",
        thinner,
        *balanced.passes,
        seeds=seeds,
        factors={"order": "joint", "gradients": "by magnitude"},
    )
    for recipe in sequential_orders(budget, prune=PRUNE, batch_size=batch_size):
        yield arm(recipe.name, thinner, *recipe.passes, seeds=seeds, factors={"order": recipe.name})
    own: dict[str, Any] = {"role": "ablation", "seeds": few}
    for field in ("sparsify", "fake_quant", "distill"):
        for weight in (0.1, 0.3, 0.5):
            recipe = _joint(budget, batch_size, loss_weights=LossWeights.model_validate({field: weight}))
            name = f"weight-{field.replace('_', '-')}-{weight:g}"
            yield arm(name, thinner, *recipe.passes, family=f"weight of {field}", factors={"weight": weight}, **own)
    for schedule in ("linear", "exponential", "step"):
        recipe = _joint(budget, batch_size, prune=PRUNE.model_copy(update={"schedule": schedule}))
        yield arm(
            f"schedule-{schedule}", thinner, *recipe.passes, family="schedule", factors={"schedule": schedule}, **own
        )
    recipe = _joint(budget, batch_size, distill=Distill(teacher="larger"))
    yield arm("teacher-larger", thinner, *recipe.passes, family="teacher", factors={"teacher": "larger"}, **own)
    yield from sensitivity(joint, few)


CLAIMS: Final = (
    DifferenceClaim(
        name="joint against the best order",
        a=Chosen(arms=("joint", "joint-balanced"), choose="best"),
        b=Chosen(arms=ORDERS, choose="best"),
        metric="accuracy",
        supported_from=5.0,
        falsified_below=3.0,
    ),
)
COMPARISONS: Final = tuple(Comparison(family="joint against each order", a="joint", b=order) for order in ORDERS)

STUDY: Final = StudyDeclaration(
    name="sequential-or-joint",
    number=2,
    title="Sequential orders against joint compression",
    question="Is compressing by pruning, quantization and distillation at once better than one after the other, in the best order?",
    hypothesis="Joint training is at least 5 points more accurate than the best order at equal ratio and equal steps.",
    falsified_if="it is ahead by less than 3 points",
    analysis=(
        "The better joint form and the best of the six orders are chosen on the validation split; the claim is their mean "
        "difference on the test split over seeds.",
        "All arms begin with the same removal of channels, take the same steps, end with the same share of zeros and the same "
        "integers: files of one size.",
        "Joint against each order: paired t tests, corrected by Holm.",
    ),
    left_out=(
        "CIFAR-100, ResNet-50 and 200 epochs: out of reach of a CPU; the full scale has ResNet-20 on CIFAR-10.",
        "All 27 combinations of the three loss weights: one is varied at a time.",
    ),
    scales=(
        StudyScale(
            name="small",
            data=(DIGITS,),
            models=(SMALL_RESNET,),
            arms=tuple(_arms(Budget(steps=90), 64, StructuredPrune(amount=0.34, round_to=1), SIX_SEEDS, ONE_SEED)),
            seeds=SIX_SEEDS,
            claims=CLAIMS,
            comparisons=COMPARISONS,
            expected="about 5 minutes of one CPU core",
            differences=(
                "A small residual network on noisy digits, 90 steps, instead of ResNet-50 on CIFAR-100, 200 epochs.",
            ),
        ),
        StudyScale(
            name="full",
            data=(CIFAR,),
            models=(RESNET_20,),
            arms=tuple(_arms(Budget(epochs=60), 128, StructuredPrune(amount=0.36, round_to=1), SIX_SEEDS, SIX_SEEDS)),
            seeds=SIX_SEEDS,
            claims=CLAIMS,
            comparisons=COMPARISONS,
            expected="about 40 GPU hours (estimated: 150 trainings of 60 epochs, 16 minutes each)",
            differences=("ResNet-20 on CIFAR-10, 60 epochs, instead of ResNet-50 on CIFAR-100, 200 epochs.",),
        ),
    ),
)
