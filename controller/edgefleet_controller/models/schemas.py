"""Documents of ``/v1/models``."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgefleet_compression.data.registry import GeneratedData


class PackagedData(BaseModel):
    """A data set that ships with edgefleet or with a library of it."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["packaged"] = Field(description="packaged")
    name: str = Field(min_length=1, max_length=64, description="name of the data set, such as digits")
    side: int | None = Field(
        default=None, ge=8, le=256, multiple_of=8, description="height and width in pixels; null as packaged"
    )


class UploadedData(BaseModel):
    """A data set uploaded as an .npz file: x, optionally y; split 70/15/15 unless it brings its own splits."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["npz"] = Field(description="npz")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="hash of the uploaded file")


DataSpec = Annotated[PackagedData | GeneratedData | UploadedData, Field(discriminator="kind")]


class ModelCreate(BaseModel):
    """A network whose file was uploaded."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="name; the newest model of a name is used"
    )
    blob_sha256: str = Field(pattern="^[0-9a-f]{64}$", description="hash of the uploaded ONNX or safetensors file")
    data: DataSpec | None = Field(default=None, description="data set for calibration, training and accuracy")
    task: str = Field(
        default="classification",
        min_length=1,
        max_length=64,
        description="what the network does; only classification is supported, others are refused with the reason",
    )


class ModelView(BaseModel):
    """A registered network."""

    model_config = ConfigDict(from_attributes=True)
    id: str = Field(description="identifier, mod_...")
    name: str = Field(description="name")
    format: Literal["onnx", "safetensors"] = Field(description="file format")
    blob_sha256: str = Field(description="hash of the file")
    facts: dict[str, Any] = Field(description="inputs, outputs, n_parameters, architecture, opset")
    data: dict[str, Any] | None = Field(description="data set; null without one")
    created_at: datetime = Field(description="when it was registered, UTC")
