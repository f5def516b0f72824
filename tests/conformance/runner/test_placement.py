"""Which provider ran what: a pass of its own, after everything that is timed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgefleet_agent.measure.artifact import Subject, measure_artifact
from edgefleet_agent.measure.placement import placement_summary
from edgefleet_agent.wire.reasons import Reason, VerdictStatus


class TestOnnxruntime:
    def test_report_says_which_provider_ran_which_share_of_the_time(
        self, subject: Callable[..., Subject], interpreter: str
    ) -> None:
        placement = measure_artifact(subject(interpreter=interpreter)).report.placement
        assert placement is not None
        assert placement.basis == "time"
        assert placement.shares == {"CPUExecutionProvider": pytest.approx(1.0)}
        assert placement.n_operators == {"CPUExecutionProvider": 1}
        assert placement.accelerator_share == 0.0
        assert [row.operator for row in placement.operators] == ["MatMul"]

    def test_too_small_a_share_on_the_accelerator_is_invalid_and_kept(self, subject: Callable[..., Subject]) -> None:
        settings = subject().settings.model_copy(update={"min_accelerator_share": 0.9})
        report = measure_artifact(subject(settings=settings)).report
        assert report.error is None
        assert report.latency_ms is not None
        assert report.verdict.status is VerdictStatus.INVALID
        assert Reason.PLACEMENT_TOO_LOW in report.verdict.reasons


class TestOtherRuntimes:
    def test_one_without_a_profile_is_unknown_with_the_reason(self, script: Any) -> None:
        placement = script().report.placement
        assert placement.shares == {}
        assert placement.accelerator_share is None
        assert "no profile" in placement.reason

    def test_an_unknown_placement_does_not_satisfy_a_bound(self, script: Any) -> None:
        def bounded(subject: Subject) -> Any:
            return replace(subject, settings=subject.settings.model_copy(update={"min_accelerator_share": 0.1}))

        assert Reason.PLACEMENT_TOO_LOW in script(subject=bounded).report.verdict.reasons

    def test_a_backends_own_word_is_taken(self, script: Any) -> None:
        placement = script(placement="edgetpu").report.placement
        assert placement.shares == {"edgetpu": 0.75, "cpu": 0.25}
        assert placement.basis == "macs"
        assert placement.accelerator_share == 0.75

    def test_a_word_that_makes_no_sense_is_unknown(self, tmp_path: Path) -> None:
        summary = placement_summary({"placement": {"shares": "all of it"}}, tmp_path)
        assert summary.shares == {}
        assert summary.reason is not None
