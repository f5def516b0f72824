"""What may be wrong with a study that is asked for.

InvalidRequest
├── InvalidStudy                 422 (the search's own code, such as constraints_contradict, budget_too_small)
├── NoBoardForStudy              422 no_board_for_study
└── NothingToReport              409 nothing_to_report
"""

from typing import Any

from edgefleet_controller.errors import Conflict, InvalidRequest


class InvalidStudy(InvalidRequest):
    """The space, the objectives, the constraints or the budget cannot be searched; the code says which."""

    code = "search_invalid"

    def __init__(self, code: str, message: str, **extra: Any) -> None:
        super().__init__(message, **extra)
        self.code = code


class NoBoardForStudy(InvalidRequest):
    """None of the devices can run any of the targets; choose other targets or other devices."""

    code = "no_board_for_study"


class NothingToReport(Conflict):
    """The study has no trial yet; look again once one has ended."""

    code = "nothing_to_report"
