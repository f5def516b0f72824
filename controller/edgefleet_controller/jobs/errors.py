"""What may be wrong with a job that is asked for.

InvalidRequest
├── UnknownRecipe                422 unknown_recipe
├── InvalidRecipe                422 (the broken rule's code, else recipe_invalid)
├── DuplicateName                422 duplicate_name
├── TooManyRuns                  422 too_many_runs
├── UnknownTarget                422 unknown_target
├── BoardMismatch                422 board_mismatch
├── NothingToCompile             422 nothing_to_compile
├── UnknownJobNamed              422 unknown_job
├── JobNeverComes                422 job_never_comes
├── DeadlinePassed               422 deadline_passed
└── NothingToMeasure             422 nothing_to_measure
"""

from typing import Any

from edgefleet_controller.errors import InvalidRequest


class UnknownRecipe(InvalidRequest):
    """No preset has this name; the message lists the presets."""

    code = "unknown_recipe"


class InvalidRecipe(InvalidRequest):
    """The recipe has an unknown field or an impossible order of passes."""

    code = "recipe_invalid"

    def __init__(self, code: str, message: str, **extra: Any) -> None:
        super().__init__(message, **extra)
        self.code = code


class DuplicateName(InvalidRequest):
    """Two recipes have the same name; rename one, the rows of the result are told apart by it."""

    code = "duplicate_name"


class TooManyRuns(InvalidRequest):
    """The job asks for more runs than one job may have; split it."""

    code = "too_many_runs"


class UnknownTarget(InvalidRequest):
    """No compiler makes artifacts for this target; the message lists the targets."""

    code = "unknown_target"


class BoardMismatch(InvalidRequest):
    """None of the job's devices is of a board that the target runs on; choose another target or other devices."""

    code = "board_mismatch"


class NothingToCompile(InvalidRequest):
    """No recipe of the job can become an artifact of any of its targets; ``refusals`` says why, for each pair."""

    code = "nothing_to_compile"


class UnknownJobNamed(InvalidRequest):
    """No job has this identifier; list them with `edgefleet job ls`."""

    code = "unknown_job"


class JobNeverComes(InvalidRequest):
    """A job that this one is to wait for has failed or was cancelled; name another one, or none."""

    code = "job_never_comes"


class DeadlinePassed(InvalidRequest):
    """The deadline is not in the future; name a later one."""

    code = "deadline_passed"


class NothingToMeasure(InvalidRequest):
    """The job has no artifact: nothing of it was compiled; submit it again."""

    code = "nothing_to_measure"
