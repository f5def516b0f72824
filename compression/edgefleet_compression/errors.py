"""Errors of the compression engine; importing this module loads neither torch nor onnx.

Tree (each class is something a caller does differently about):

    CompressionError
    |-- RequestInvalid      the child's request cannot be understood: fix the caller
    |-- RecipeInvalid       the recipe is refused before anything runs: fix the recipe
    |-- ModelFileInvalid    the model file is refused or damaged: send another file
    |-- DataInvalid         the data set is refused: fix the data
    |-- PassRefused         this pass cannot work on this candidate: choose another pass or model
    |-- TrainingFailed      training was stopped: change its settings
    |-- SearchInvalid       a search cannot be as it is asked for: change its space, objectives, constraints or budget
    `-- ResourceExhausted   the machine has too little memory: a smaller batch or another machine

Every error has a stable snake_case ``code``, a message that says what was wrong, where, and what to do next, and a
JSON-safe ``detail``.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class StepError(Exception):
    """What stops a compress or compile step; the roots of both packages' trees derive from it."""

    default_code: ClassVar[str] = "step_failed"

    def __init__(self, message: str, *, code: str | None = None, detail: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.message = message
        self.detail: dict[str, Any] = dict(detail or {})

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class CompressionError(StepError):
    """Compression failed; the code says why."""

    default_code = "compression_failed"


class RequestInvalid(CompressionError):
    """The request line is not one of the known tasks with its fields."""

    default_code = "request_invalid"


class RecipeInvalid(CompressionError):
    """The recipe has an unknown field, a value out of range or an impossible order of passes."""

    default_code = "recipe_invalid"


class ModelFileInvalid(CompressionError):
    """The model file is truncated, corrupt, too large or of a kind that is never loaded."""

    default_code = "model_file_invalid"


class DataInvalid(CompressionError):
    """The data set is missing, unreadable or does not fit the model."""

    default_code = "data_invalid"


class PassRefused(CompressionError):
    """The pass cannot work on this candidate."""

    default_code = "pass_refused"


class TrainingFailed(CompressionError):
    """Training was stopped before its end; nothing of it is kept."""

    default_code = "training_failed"


class SearchInvalid(CompressionError):
    """A search's space, objectives, constraints or budget are refused, or a history is not of this search."""

    default_code = "search_invalid"


class StudyInvalid(CompressionError):
    """The study is unknown, lacks its data, or its folder or lock file is damaged."""

    default_code = "study_invalid"


class ResourceExhausted(CompressionError):
    """Memory ran out."""

    default_code = "out_of_memory"
