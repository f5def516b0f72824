"""Whether a runtime can honour the provider or delegate that a run asks for; what it would ignore is refused."""

from edgefleet_agent.errors import MeasurementFailed
from edgefleet_agent.measure.subject import Subject
from edgefleet_agent.wire.reasons import ErrorCode

WITH_PROVIDERS = frozenset({"onnxruntime"})
WITH_DELEGATES = frozenset({"litert", "tflite-runtime"})


def require_possible(subject: Subject) -> None:
    """Raise MeasurementFailed(provider_unavailable) where the runtime knows no providers, or no delegates."""
    settings, runtime = subject.settings, subject.runtime
    for wanted, kind, having in (
        (settings.provider, "execution provider", WITH_PROVIDERS),
        (settings.delegate, "delegate", WITH_DELEGATES),
    ):
        if wanted is not None and runtime not in having:
            raise MeasurementFailed(
                ErrorCode.PROVIDER_UNAVAILABLE,
                "{} has no {} to choose, so {!r} cannot be honoured; leave it out, or measure with {}".format(
                    runtime, kind, wanted, " or ".join(sorted(having))
                ),
            )
