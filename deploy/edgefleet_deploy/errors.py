"""Errors of the compilers; importing this module loads neither torch nor onnx.

Tree (each class is something a caller does differently about):

    DeployError
    |-- CompileRequestInvalid   the child's request cannot be understood: fix the caller
    |-- TargetInvalid           unknown target, or one that is older than what is supported: choose another
    |-- CandidateRefused        this candidate cannot become this target's file: change the model or the target
    |-- CandidateUnreadable     the candidate file is damaged: produce or upload it again
    |-- DataUnusable            calibration or evaluation data do not fit the model's inputs: fix the data
    |-- ParityFailed            the artifact does not compute what the candidate computes: never ship it
    |-- GoldenInvalid           golden inputs and outputs that could prove nothing, or a damaged file of them
    |-- CompilerUnavailable     the vendor's tool is not installed here: install it, or choose another target
    |-- CompilerFailed          the vendor's tool gave up or ran too long: its last words are in the detail
    |-- HostCannotRun           this host has no runtime for the file: run it where it belongs
    |-- BundleRefused           the artifact cannot be served in this form: choose another target or folder
    |-- FileUnusable            a file given for checking is damaged, of another kind or compiled already
    `-- ArtifactMismatch        a file is not the one its manifest names: fetch it again

Every error has a stable snake_case ``code``, a message that says what was wrong, where, and what to do next, and a
JSON-safe ``detail``.
"""

from edgefleet_compression.errors import StepError


class DeployError(StepError):
    """Compilation failed; the code says why."""

    default_code = "compile_failed"


class CompileRequestInvalid(DeployError):
    """The request line is not a compile request with its fields."""

    default_code = "request_invalid"


class TargetInvalid(DeployError):
    """The target is unknown or asks for more than its compiler can write."""

    default_code = "unknown_target"


class CandidateRefused(DeployError):
    """The candidate cannot become a file of this target; the code says which of its traits is in the way."""

    default_code = "candidate_refused"


class CandidateUnreadable(DeployError):
    """The candidate file is truncated, corrupt or of no known kind."""

    default_code = "candidate_unreadable"


class DataUnusable(DeployError):
    """Calibration or evaluation data do not fit the inputs of the model."""

    default_code = "data_unusable"


class ParityFailed(DeployError):
    """The artifact's outputs differ from the candidate's by more than the stated tolerance."""

    default_code = "parity_failed"


class GoldenInvalid(DeployError):
    """Golden inputs and outputs do not fit together, are not finite, or their file is damaged."""

    default_code = "golden_invalid"


class CompilerUnavailable(DeployError):
    """The vendor's compiler is not installed on this host; the message says where it comes from."""

    default_code = "compiler_unavailable"


class CompilerFailed(DeployError):
    """The vendor's compiler ended without a file; its last words are in the detail."""

    default_code = "compiler_failed"


class HostCannotRun(DeployError):
    """This host has no runtime that could run the file, such as Core ML on Linux."""

    default_code = "host_cannot_run"


class BundleRefused(DeployError):
    """The artifact cannot be written as a model repository."""

    default_code = "bundle_format"


class FileUnusable(DeployError):
    """A file given for checking is damaged, of another kind, or compiled already."""

    default_code = "file_unusable"


class ArtifactMismatch(DeployError):
    """Size or sha256 of a file is not what its manifest states."""

    default_code = "artifact_hash_mismatch"
