from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.passes.specs.base import Spec, TeacherName
from edgefleet_compression.passes.specs.training import Budget


class Distill(Spec):
    """Learn from a teacher: its softened outputs, or what its layers see."""

    kind: Literal["distill"] = "distill"
    teacher: TeacherName | None = Field(
        None,
        description="fixed: the model the recipe was given. larger: a wider network of the same family, trained first. "
        "Self-distillation: same_class asks the network about another sample of the class; ema, best_validation, ensemble are "
        "made of this training's own past. Required.",
    )
    method: Literal["logits", "dkd", "attention", "features"] = Field(
        "logits",
        description="logits: softened outputs (Hinton); dkd: decoupled (Zhao); attention: maps of where activations are "
        "(Zagoruyko); features: the activations themselves (FitNets).",
    )
    temperature: float = Field(4.0, gt=0.0, le=100.0, description="Softening of both distributions.")
    final_temperature: float | None = Field(
        None, gt=0.0, le=100.0, description="Temperature at the end of the budget, reached linearly; null: it is fixed."
    )
    alpha: float = Field(
        0.7,
        gt=0.0,
        le=1.0,
        description="logits, dkd: weight of the distillation loss; the labels' loss has the rest.",
    )
    non_target_weight: float = Field(
        8.0, gt=0.0, le=100.0, description="dkd: weight of the classes other than the true one (beta of the paper)."
    )
    feature_weight: float | None = Field(
        None,
        gt=0.0,
        le=1e6,
        description="attention, features: weight beside the labels' loss; null: 1000 for attention, 100 for features.",
    )
    ema_decay: float = Field(0.999, gt=0.0, lt=1.0, description="ema: share of the old average at each step.")
    refresh_epochs: int = Field(
        1, ge=1, le=1000, description="best_validation, ensemble: epochs between two looks at the network."
    )
    n_checkpoints: int = Field(
        3, ge=2, le=16, description="ensemble: how many of the last checkpoints answer together."
    )
    teacher_width_ratio: float = Field(2.0, gt=1.0, le=8.0, description="larger: widths over the candidate's.")
    teacher_budget: Budget | None = Field(
        None, description="larger: how long it is trained; null: as long as this pass."
    )

    @model_validator(mode="after")
    def _has_teacher(self) -> "Distill":
        if self.teacher is None:
            raise PydanticCustomError(
                "distill_without_teacher", 'distill needs a teacher: set "teacher": "fixed" (the model given).'
            )
        if self.teacher in ("ensemble", "same_class") and self.method in ("attention", "features"):
            raise PydanticCustomError(
                "teacher_has_no_features",
                "This teacher answers with outputs only: use method logits or dkd, or another teacher.",
            )
        return self
