"""Documents of ``/v1/imports``."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from edgefleet_controller.results.schemas import VariantRow


class ImportCreate(BaseModel):
    """A profile that another tool measured, as a file that was uploaded before."""

    model_config = ConfigDict(extra="forbid")
    format: str = Field(
        max_length=64,
        description="format of the file: trtexec-times, onnxruntime-perf-test or mlperf-loadgen-detail",
    )
    blob_sha256: str = Field(pattern="^[0-9a-f]{64}$", description="hash of the uploaded file")
    file_name: str = Field(
        default="profile", min_length=1, max_length=200, pattern=r"^[^/\\\x00-\x1f\x7f]+$", description="its name"
    )
    model: str = Field(min_length=1, max_length=128, description="identifier or name of the model that was measured")
    device_name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="name of the device that it was measured on; no board of the fleet has it",
    )
    board: str = Field(default="other", min_length=1, max_length=64, description="kind of that device")
    name: str = Field(
        default="imported", min_length=1, max_length=128, description="what was measured, such as resnet50-fp16"
    )
    target: str = Field(
        default="other", min_length=1, max_length=64, description="what it was compiled for, such as tensorrt"
    )
    accuracy: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="top-1 accuracy that its owner states, share in [0, 1]; the files hold none",
    )
    batch: int = Field(default=1, ge=1, le=1_000_000, description="samples per inference")


class ImportView(BaseModel):
    """An imported profile: a job that has one result."""

    job: str = Field(description="identifier of the job that holds it")
    device_id: str = Field(description="identifier of the device that stands for that of the other tool")
    row: VariantRow = Field(description="its row, as in the table of the job")
    facts: dict[str, Any] = Field(description="what else the file says")
