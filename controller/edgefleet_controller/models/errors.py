"""What may be wrong with a model, its data or its metric.

InvalidRequest
├── UnknownModelNamed            422 unknown_model
├── UnknownDataSet               422 unknown_data_set
├── MetricRefused                422 (task_unsupported, metric_unknown, metric_unsuitable)
└── ModelRefused                 422 (the inspection's code)
ControllerError
└── InspectionFailed             503 inspection_failed
"""

from typing import Any

from edgefleet_controller.errors import ControllerError, InvalidRequest


class UnknownModelNamed(InvalidRequest):
    """No model has this name or identifier; list them with `edgefleet model ls`."""

    code = "unknown_model"


class UnknownDataSet(InvalidRequest):
    """No packaged data set has this name, or its file was not uploaded."""

    code = "unknown_data_set"


class MetricRefused(InvalidRequest):
    """The task is not supported, or the metric says nothing of this model."""

    code = "task_unsupported"

    def __init__(self, code: str, message: str, **extra: Any) -> None:
        super().__init__(message, **extra)
        self.code = code


class ModelRefused(InvalidRequest):
    """The file is not a model that edgefleet can read."""

    code = "model_refused"

    def __init__(self, code: str, message: str, **extra: Any) -> None:
        super().__init__(message, **extra)
        self.code = code


class InspectionFailed(ControllerError):
    """The inspection of the model ended without an answer; it was stopped for time or memory, or it crashed."""

    status, code = 503, "inspection_failed"
