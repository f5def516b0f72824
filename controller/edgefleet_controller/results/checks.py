"""What shows whether a run computed the right thing, and where: golden outputs, agreement with the host, placement."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from edgefleet_controller.db.tables import Result


class GoldenRow(BaseModel):
    """The check of golden outputs before anything was timed; its worst output."""

    passed: bool = Field(description="whether the runtime computes what the artifact is")
    n_samples: int = Field(description="golden samples")
    snr_db: float | None = Field(
        description="device against the float network, dB; null when they are equal, or when n_non_finite is not 0"
    )
    host_snr_db: float | None = Field(description="the same on the compiling host; null when they are equal")
    required_snr_db: float | None = Field(description="least snr_db that passes")
    n_non_finite: int = Field(description="values that are NaN or infinite, over all outputs")


class AgreementRow(BaseModel):
    """Predictions of the device against those of the compiling host, sample by sample."""

    share: float = Field(description="samples with the same class / all compared, in [0, 1]")
    n: int = Field(description="samples compared")
    n_disagree: int = Field(description="samples with another class")
    samples: list[int] = Field(description="the first of them, as places in the evaluation set")


class PlacementRow(BaseModel):
    """Which provider or delegate ran what."""

    shares: dict[str, float] = Field(description="provider or delegate -> its share in [0, 1]; empty where unknown")
    n_operators: dict[str, int] = Field(description="provider or delegate -> operators it ran")
    basis: str | None = Field(description="what the shares are of: time, operators or macs; null where unknown")
    accelerator_share: float | None = Field(description="share of all that is not the CPU; null where unknown")
    reason: str | None = Field(description="why the placement is unknown")


class Checks(BaseModel):
    """The three of one run; null where there is none."""

    golden: GoldenRow | None = Field(default=None, description="check of the golden outputs")
    host_agreement: AgreementRow | None = Field(default=None, description="agreement with the compiling host's classes")
    placement: PlacementRow | None = Field(default=None, description="which provider or delegate ran what")


def checks_of(result: Result | None) -> Checks:
    """The checks of a stored report, a failed run's golden outputs among them."""
    if result is None:
        return Checks()
    placement = result.report.get("placement")
    return Checks(
        golden=_golden(result.report.get("golden")),
        host_agreement=AgreementRow.model_validate(result.host_agreement) if result.host_agreement else None,
        placement=PlacementRow.model_validate(placement) if placement else None,
    )


def _golden(summary: Mapping[str, Any] | None) -> GoldenRow | None:
    if summary is None:
        return None
    worst: Mapping[str, Any] = min(summary["outputs"], key=_headroom_db, default={})
    return GoldenRow(
        passed=summary["passed"],
        n_samples=summary["n_samples"],
        snr_db=worst.get("snr_db"),
        host_snr_db=worst.get("host_snr_db"),
        required_snr_db=worst.get("required_snr_db"),
        n_non_finite=sum(output["n_non_finite"] for output in summary["outputs"]),
    )


def _headroom_db(output: Mapping[str, Any]) -> float:
    """How far an output is above what is asked of it."""
    if output["n_non_finite"]:
        return float("-inf")
    return float("inf") if output["snr_db"] is None else float(output["snr_db"] - output["required_snr_db"])
