"""Requests that the compression step takes. Torch-free."""

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

RequestT = TypeVar("RequestT", bound="StepRequest")


class StepRequest(BaseModel):
    """A frozen request; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TrainModelRequest(StepRequest):
    """Train a registered architecture from scratch on a data set."""

    task: Literal["train_model"]
    architecture: str = Field("resnet", description="Registered architecture, or a network by name such as resnet-20.")
    arguments: dict[str, Any] = Field(
        default_factory=dict,
        description="Its arguments; channels and classes follow the data where they are not given.",
    )
    data: dict[str, Any] = Field(description="Data set specification.")
    seed: int = Field(ge=0, lt=2**31)
    epochs: int = Field(12, ge=1, le=10_000)
    output_dir: Path
    threads: int = Field(1, ge=1, le=256)


class PrepareDataRequest(StepRequest):
    """Check a data set and write the evaluation set for devices."""

    task: Literal["prepare_data"]
    data: dict[str, Any] | None = None
    model: Path | None = None
    output_dir: Path


class CompressRequest(StepRequest):
    """Carry out a recipe on a model file."""

    task: Literal["compress"]
    model: Path
    recipe: dict[str, Any]
    data: dict[str, Any] | None = None
    seed: int | None = Field(None, ge=0, lt=2**31, description="Takes the place of the recipe's own seed where given.")
    threads: int = Field(1, ge=1, le=256)
    device: Literal["auto", "cpu", "cuda"] = Field(
        "cpu", description="Where trainings run; auto: CUDA where there is one. The same device gives the same bytes."
    )
    arithmetic: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Type of forward passes in float training; weights stay float32. float16: CUDA alone."
    )
    output_dir: Path
    checkpoint_dir: Path | None = Field(
        None,
        description="Folder that outlives this process: a request that was killed and is sent again with it goes on from there. "
        "Removed by the caller.",
    )


class AnalyzeRequest(StepRequest):
    """Look at a model before compression: layers, counts, sensitivities, expected sizes."""

    task: Literal["analyze"]
    model: Path
    data: dict[str, Any] | None = Field(None, description="Labelled data for the sensitivities; null: without them.")
    recipes: list[dict[str, Any]] | None = Field(None, description="Whose sizes to expect; null: the presets.")
    n_samples: int = Field(512, ge=1, le=1_000_000, description="Validation samples for the sensitivities, at most.")
    threads: int = Field(1, ge=1, le=256)


class InspectRequest(StepRequest):
    """Look at a model file."""

    task: Literal["inspect"]
    model: Path
