"""One leased run, from the order to its measurement."""

import errno
import logging
import random
import traceback
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Optional, Protocol

from edgefleet_agent.cache import ArtifactCache
from edgefleet_agent.client import ControllerClient, Download, RetryPolicy
from edgefleet_agent.errors import (
    ControllerError,
    DiskFull,
    DownloadFailed,
    DrainRequested,
    HashMismatch,
    MeasurementFailed,
    RequestRefused,
    Unreachable,
)
from edgefleet_agent.inventory import Inventory
from edgefleet_agent.loop.heart import Heart
from edgefleet_agent.loop.stopping import StopSwitch
from edgefleet_agent.measure.artifact import Bench, Measurement, Subject, failed_report, measure_artifact
from edgefleet_agent.measure.compared_run import measure_comparison, refuse_comparison
from edgefleet_agent.measure.emulation import as_emulated
from edgefleet_agent.measure.runtimes import runtime_named
from edgefleet_agent.wire.host_lock import hold_for_measurement
from edgefleet_agent.wire.messages import DeviceKind, RunOrder
from edgefleet_agent.wire.reasons import ErrorCode, Provenance
from edgefleet_agent.wire.report import BlobRef, CodedError

log = logging.getLogger(__name__)

FETCH_ATTEMPTS = 8
"""With the default back-off the last attempt comes about a minute after the first; then the run is left to its lease."""

Measure = Callable[[Subject, Bench], Measurement]
Compare = Callable[[RunOrder, Subject, Optional[Subject], Bench], Measurement]


class StandIn(Protocol):
    """What takes a board's place and carries out an order in another way than measuring."""

    @property
    def kind(self) -> DeviceKind:
        """What it enrols as."""
        ...

    @property
    def provenance(self) -> Provenance:
        """Provenance of all its reports, failed ones included."""
        ...

    def measure(self, order: RunOrder, subject: Subject, bench: Bench) -> Measurement:
        """Carry out an order whose files are here; raises MeasurementFailed where that is impossible."""
        ...


@dataclass(frozen=True)
class Workshop:
    """What a run is measured with; tests exchange parts."""

    cache: ArtifactCache
    inventory: Inventory
    bench: Bench
    retry: RetryPolicy
    rng: random.Random
    stop: StopSwitch
    lock_directory: Optional[Path] = None
    measure: Measure = measure_artifact
    compare: Compare = measure_comparison
    stand_in: Optional[StandIn] = None

    @property
    def device_kind(self) -> DeviceKind:
        """What the agent enrols as."""
        if self.stand_in is not None:
            return self.stand_in.kind
        return "emulated" if self.inventory.is_emulated else "physical"

    def carry_out(self, order: RunOrder, subject: Subject, second: Optional[Subject], bench: Bench) -> Measurement:
        """Measure or compare, or do what the stand-in does instead."""
        if order.kind != "measure":
            if self.device_kind != "physical":
                raise refuse_comparison(self.device_kind)
            return self.compare(order, subject, second, bench)
        if self.stand_in is not None:
            return self.stand_in.measure(order, subject, bench)
        return self._labelled(self.measure(subject, bench))

    def failed(self, order: RunOrder, error: CodedError) -> Measurement:
        """The report of an order that could not be carried out."""
        failure = Measurement(failed_report(order.artifact, error), {})
        if self.stand_in is not None:
            return failure._replace(report=failure.report.model_copy(update={"provenance": self.stand_in.provenance}))
        return self._labelled(failure)

    def _labelled(self, measurement: Measurement) -> Measurement:
        """Figures of an emulated board say that they are."""
        if not self.inventory.is_emulated:
            return measurement
        return measurement._replace(report=as_emulated(measurement.report))


def carry_out(order: RunOrder, client: ControllerClient, heart: Heart, workshop: Workshop) -> Measurement:
    """Fetch, wait for the host and measure; what goes wrong with the run itself becomes its report.

    Raises StaleAttempt when the run belongs to somebody else, and Unreachable when its files could not be fetched.
    """
    try:
        subject = _prepare(order, client, heart, workshop)
        second = _prepare_second(order, subject, client, heart, workshop)
        with _hold_host(heart, workshop):
            return workshop.carry_out(order, subject, second, replace(workshop.bench, on_phase=heart.beat))
    except MeasurementFailed as failure:
        return workshop.failed(order, failure.error)
    except (ControllerError, DrainRequested):
        raise
    except Exception as err:
        log.exception("run %s failed inside the agent", order.run_id)
        return workshop.failed(order, internal_error(err))


def _prepare(order: RunOrder, client: ControllerClient, heart: Heart, workshop: Workshop) -> Subject:
    runtime, interpreter = _interpreter(order.runtime, workshop)
    heart.beat("fetch")
    path = _fetch(order.artifact, client, heart, workshop)
    evaluation = None if order.evaluation is None else _fetch(order.evaluation, client, heart, workshop, path)
    in_use = [path] if evaluation is None else [path, evaluation]
    golden = None if order.golden is None else _fetch(order.golden, client, heart, workshop, *in_use)
    return Subject(
        path=path,
        artifact=order.artifact,
        runtime=runtime,
        settings=order.settings,
        interpreter=interpreter,
        evaluation_path=evaluation,
        golden_path=golden,
        manifest=order.manifest,
    )


def _prepare_second(
    order: RunOrder, first: Subject, client: ControllerClient, heart: Heart, workshop: Workshop
) -> Optional[Subject]:
    """Artifact B of an A/B run, fetched while A stays in the cache."""
    second = order.second
    if second is None:
        return None
    runtime, interpreter = _interpreter(second.runtime, workshop)
    in_use = [path for path in (first.path, first.evaluation_path, first.golden_path) if path is not None]
    path = _fetch(second.artifact, client, heart, workshop, *in_use)
    golden = None if second.golden is None else _fetch(second.golden, client, heart, workshop, *in_use, path)
    return replace(
        first,
        path=path,
        artifact=second.artifact,
        runtime=runtime,
        interpreter=interpreter,
        golden_path=golden,
        manifest=second.manifest,
    )


def _interpreter(wanted: str, workshop: Workshop) -> "tuple[str, str]":
    """The runtime's name and the interpreter that holds it."""
    runtime = runtime_named(wanted, workshop.bench.runtimes)
    interpreter = workshop.inventory.interpreter_for(runtime.name)
    if interpreter is None:
        raise MeasurementFailed(
            ErrorCode.RUNTIME_UNAVAILABLE,
            "no interpreter on this board holds {}; run edgefleet-agent doctor there".format(runtime.name),
        )
    return runtime.name, interpreter


def _fetch(ref: BlobRef, client: ControllerClient, heart: Heart, workshop: Workshop, *in_use: Path) -> Path:
    """The verified file; every attempt resumes where the one before stopped."""

    def source(offset: int) -> "AbstractContextManager[Download]":
        return client.download(ref.sha256, offset)

    for n_failures in range(1, FETCH_ATTEMPTS + 1):
        try:
            return workshop.cache.fetch(ref, source, on_chunk=lambda: heart.beat("fetch"), in_use=in_use)
        except (HashMismatch, DiskFull) as err:
            raise MeasurementFailed(ErrorCode(err.code), str(err)) from err
        except RequestRefused as err:
            raise MeasurementFailed(
                ErrorCode.ARTIFACT_MISSING, "the controller does not hand out {}: {}".format(ref.sha256, err)
            ) from err
        except (DownloadFailed, Unreachable) as err:
            trouble = err if isinstance(err, Unreachable) else Unreachable(str(err))
            log.warning("fetching %s: %s", ref.sha256, err)
        workshop.stop.wait(workshop.retry.delay_s(n_failures, trouble, workshop.rng))
        heart.beat("fetch")
    raise Unreachable("{} could not be fetched in {} attempts".format(ref.sha256, FETCH_ATTEMPTS))


def _hold_host(heart: Heart, workshop: Workshop) -> "AbstractContextManager[None]":
    return hold_for_measurement(workshop.lock_directory, on_wait=lambda _waited_s: heart.beat("wait"))


def internal_error(err: Exception) -> CodedError:
    """What a report says of an exception that nobody expected; a full disk has its own code."""
    full = isinstance(err, OSError) and err.errno == errno.ENOSPC
    code = ErrorCode.DISK_FULL if full else ErrorCode.INTERNAL
    advice = "free some space on the board" if full else "this is a bug of the agent; please report it"
    return CodedError(
        code=code,
        message="{}: {}; {}".format(type(err).__name__, err, advice),
        detail={"traceback": traceback.format_exc().splitlines()[-20:]},
    )
