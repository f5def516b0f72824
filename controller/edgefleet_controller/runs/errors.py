"""Why a device's word about a run is not taken.

Conflict
└── StaleAttempt                 409 stale_attempt
ControllerError
└── ReportRefused                422 report_refused
    ├── ProvenanceMismatch       422 provenance_mismatch
    ├── ArtifactMismatch         422 artifact_mismatch
    ├── SamplesMissing           422 samples_missing
    ├── SamplesInvalid           422 samples_invalid
    └── SamplesDisagree          422 samples_disagree
"""

from edgefleet_controller.errors import Conflict, ControllerError


class StaleAttempt(Conflict):
    """The lease of this attempt has ended; drop the run, its figures are no longer wanted."""

    code, fault = "stale_attempt", "device"


class ReportRefused(ControllerError):
    """The report is not acceptable; the run has failed for this reason."""

    status, code, fault = 422, "report_refused", "device"


class ProvenanceMismatch(ReportRefused):
    """The report's provenance is not the one that devices of this kind produce."""

    code = "provenance_mismatch"


class ArtifactMismatch(ReportRefused):
    """The report is about another file than the one ordered."""

    code = "artifact_mismatch"


class SamplesMissing(ReportRefused):
    """The report names raw samples that were not uploaded; upload them, then report again."""

    code, retry = "samples_missing", True


class SamplesInvalid(ReportRefused):
    """The raw latency samples cannot be read."""

    code = "samples_invalid"


class SamplesDisagree(ReportRefused):
    """The reported percentiles are not those of the raw samples."""

    code = "samples_disagree"
