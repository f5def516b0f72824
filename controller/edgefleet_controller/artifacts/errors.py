"""What may be wrong with an artifact that is named.

InvalidRequest
├── UnknownArtifactNamed         422 unknown_artifact
└── ArtifactNotCompiled          422 artifact_not_compiled
"""

from edgefleet_controller.errors import InvalidRequest


class UnknownArtifactNamed(InvalidRequest):
    """No artifact has this hash, or the job has no such variant; list a job's artifacts with `edgefleet results`."""

    code = "unknown_artifact"


class ArtifactNotCompiled(InvalidRequest):
    """The variant has no artifact: it was not compiled yet, or could not be; see `edgefleet job show`."""

    code = "artifact_not_compiled"
