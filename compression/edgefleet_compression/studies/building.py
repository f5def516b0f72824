"""What the seven declarations are put together from: data, models, trainings, arms."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from edgefleet_compression.passes.specs import (
    AnyPass,
    Augmentation,
    Budget,
    Distill,
    LearningRateSchedule,
    LotteryTicket,
    Optimizer,
    StructuredPrune,
    Train,
)
from edgefleet_compression.passes.specs.ingredients import Ingredient
from edgefleet_compression.recipe import Recipe
from edgefleet_compression.studies.declaration import Arm, Role, StudyData, StudyModel

SIX_SEEDS: Final = (0, 1, 2, 3, 4, 5)
"""The fewest with which a paired Wilcoxon test can come below 0.05."""
ONE_SEED: Final = (0,)
"""For ablations of the small scale, on which nothing is claimed: they show that an arm runs, and roughly where it lies."""

DIGITS: Final = StudyData(
    name="noisy-digits",
    spec={"kind": "packaged", "name": "digits"},
    noise=1.0,
    shares=(0.5, 0.15, 0.35),
)
"""The packaged digits with noise of about their own deviation: without it every network answers nearly all rightly, and
nothing can be told apart. A test split of 629 samples has steps of 0.16 points.
"""

CIFAR: Final = StudyData(name="cifar10", spec=None)

SMALL_RESNET: Final = StudyModel(
    name="resnet",
    architecture="resnet",
    arguments={"stem_width": 16, "widths": [16, 32, 64], "blocks": [1, 1, 1]},
    data=DIGITS.name,
    epochs=8,
)
RESNET_20: Final = StudyModel(name="resnet", architecture="resnet-20", data=CIFAR.name, epochs=120)


@dataclass(frozen=True)
class Setting:
    """How arms of one scale train."""

    epochs: int
    lr: float = 0.02
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """adamw for transformers: plain SGD hardly moves small ones."""
    batch_size: int = 64
    augmentation: Augmentation = "none"

    def train(self, *ingredients: Ingredient, epochs: int | None = None, **changes: Any) -> Train:
        """Return a training of this setting."""
        values: dict[str, Any] = {
            "budget": Budget(epochs=epochs or self.epochs),
            "batch_size": self.batch_size,
            "augmentation": self.augmentation,
            "optimizer": Optimizer(name=self.optimizer, lr=self.lr),
            "lr_schedule": LearningRateSchedule(warmup_fraction=0.05),
            "ingredients": ingredients,
        }
        return Train(**{**values, **changes})


SMALL: Final = Setting(epochs=6)
FULL: Final = Setting(epochs=40, lr=0.02, batch_size=128, augmentation="crop_flip")


def arm(name: str, *passes: AnyPass, model: str = "resnet", role: Role = "main", **fields: Any) -> Arm:
    """Return an arm whose recipe has its name."""
    return Arm(name=name, model=model, recipe=Recipe(name=name, passes=passes), role=role, **fields)


def channel_amount(ratio: float) -> float:
    """Return the share of channels to remove for so many times fewer parameters: they fall with the square of the widths."""
    return round(1.0 - 1.0 / math.sqrt(ratio), 4)


def pruned(ratio: float, *, criterion: str = "magnitude_l2", round_to: int = 1) -> StructuredPrune:
    """Return the structured pruning to a ratio of parameters."""
    return StructuredPrune.model_validate(
        {"amount": channel_amount(ratio), "criterion": criterion, "round_to": round_to, "min_channels": 2}
    )


def sensitivity(base: Arm, seeds: tuple[int, ...]) -> Iterator[Arm]:
    """Yield the arm with learning rate 10 % lower and higher, distillation temperature likewise, and half the data."""
    for word, factor in (("lower", 0.9), ("higher", 1.1)):
        yield _varied(base, f"lr-{word}", seeds, lr=factor)
        if any(isinstance(spec, Train) and spec.ingredient(Distill) for spec in base.recipe.passes):
            yield _varied(base, f"temperature-{word}", seeds, temperature=factor)
    halved = {"train_share": base.train_share / 2, "role": "sensitivity", "seeds": seeds}
    yield base.model_copy(
        update={
            **halved,
            "name": f"{base.name}-half-data",
            "family": f"sensitivity of {base.name}",
            "factors": {**base.factors, "changed": "half the training data"},
        }
    )


def _varied(base: Arm, change: str, seeds: tuple[int, ...], *, lr: float = 1.0, temperature: float = 1.0) -> Arm:
    passes = tuple(_scaled(spec, lr, temperature) for spec in base.recipe.passes)
    name = f"{base.name}-{change}"
    return base.model_copy(
        update={
            "name": name,
            "recipe": Recipe(name=name, passes=passes),
            "role": "sensitivity",
            "family": f"sensitivity of {base.name}",
            "factors": {**base.factors, "changed": f"{change} by 10 %".replace("-", " ")},
            "seeds": seeds,
        }
    )


def _scaled(spec: AnyPass, lr: float, temperature: float) -> AnyPass:
    if not isinstance(spec, Train | LotteryTicket):
        return spec
    changes: dict[str, Any] = {"optimizer": spec.optimizer.model_copy(update={"lr": spec.optimizer.lr * lr})}
    if isinstance(spec, Train):
        changes["ingredients"] = tuple(
            item.model_copy(update={"temperature": item.temperature * temperature})
            if isinstance(item, Distill)
            else item
            for item in spec.ingredients
        )
    return spec.model_copy(update=changes)
