"""The client: all calls of the API, and jobs as objects."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgefleet_controller.client.administration import AdministrationCalls
from edgefleet_controller.client.comparisons import ComparisonCalls
from edgefleet_controller.client.devices import DeviceCalls
from edgefleet_controller.client.imports import ImportCalls
from edgefleet_controller.client.job import Job
from edgefleet_controller.client.jobs import JobCalls
from edgefleet_controller.client.models import ModelCalls
from edgefleet_controller.client.regressions import RegressionCalls
from edgefleet_controller.client.results import ResultCalls
from edgefleet_controller.client.studies import StudyCalls
from edgefleet_controller.client.study import Study


class Client(
    DeviceCalls,
    ModelCalls,
    JobCalls,
    ComparisonCalls,
    ResultCalls,
    ImportCalls,
    RegressionCalls,
    StudyCalls,
    AdministrationCalls,
):
    """A connection to one controller; usable as a context manager, not to be shared between threads while closing."""

    def submit(
        self,
        model: str | Path,
        *,
        recipes: Sequence[str | Mapping[str, Any]] = ("baseline", "int8"),
        data: Path | str | None = None,
        **request: Any,
    ) -> Job:
        """Ask for every recipe x target x device.

        ``model``: name or identifier of a registered model, or a file, which is registered first with ``data`` as in
        ``add_model``. ``request``: targets, devices, settings, name, seed, metric, no_cache and the rules of
        ``submit_job``. A lost connection makes no second job.
        """
        reference = self.add_model(model, data=data)["id"] if isinstance(model, Path) else model
        return Job(self, self.submit_job(str(reference), recipes=recipes, **request))

    def search(
        self,
        model: str | Path,
        *,
        data: Path | str | None = None,
        objectives: Sequence[str | Mapping[str, Any]] = ("accuracy", "latency_p50_ms"),
        constraints: Sequence[str | Mapping[str, Any]] = (),
        n_trials: int = 30,
        **options: Any,
    ) -> Study:
        """Search for recipes under constraints by measuring on the boards.

        ``model`` and ``data`` as in ``submit``; ``constraints`` such as ``latency_p90_ms<=20`` or ``retention>=0.99``;
        ``options`` as in ``submit_study``. A lost connection makes no second study.
        """
        reference = self.add_model(model, data=data)["id"] if isinstance(model, Path) else model
        document = self.submit_study(
            str(reference), objectives=objectives, constraints=constraints, n_trials=n_trials, **options
        )
        return Study(self, document)

    def open_study(self, study_id: str) -> Study:
        """A study that was submitted before."""
        return Study(self, self.study(study_id))

    def open_job(self, job_id: str) -> Job:
        """A job that was submitted before."""
        return Job(self, self.job(job_id))
