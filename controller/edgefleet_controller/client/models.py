"""Models and the look at them before compression."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgefleet_controller.client.connection import ATTEMPTS
from edgefleet_controller.client.errors import JsonObject
from edgefleet_controller.client.files import FileCalls
from edgefleet_controller.client.waiting import wait_until_ended

GENERATED_DATA = frozenset({"keywords"})
"""Names of synthetic data sets; any other name is that of a packaged one."""
ANALYSIS_LOOK_S = 2.0
"""How often the progress of an analysis is looked at."""


class ModelCalls(FileCalls):
    """Networks, their data and analyses."""

    def add_model(self, path: Path, *, name: str | None = None, data: Path | str | None = None) -> JsonObject:
        """Upload and register a network: .onnx, or .safetensors in edgefleet's candidate form.

        ``data``: an .npz file with ``x`` and ``y`` (or explicit splits), or the name of a packaged or generated data
        set.
        """
        body: JsonObject = {"name": name or path.stem, "blob_sha256": self.upload(path)}
        body |= {"data": self._data(data)} if data is not None else {}
        return self._send("POST", "/v1/models", body)

    def models(self) -> list[JsonObject]:
        """All models, newest first."""
        return list(self._pages("/v1/models"))

    def model(self, reference: str) -> JsonObject:
        """One model by identifier or name."""
        return self._read(f"/v1/models/{reference}")

    def analyze_model(
        self,
        reference: str,
        *,
        data: Path | str | None = None,
        recipes: Sequence[str | Mapping[str, Any]] | None = None,
        n_samples: int | None = None,
    ) -> JsonObject:
        """Ask for a look at the model before compression; ``result`` is there at once if it was made before.

        ``data``: as in ``add_model``; None takes the model's own. ``recipes``: whose sizes to expect; None for all presets.
        """
        body: JsonObject = {"data": self._data(data)} if data is not None else {}
        body |= {"recipes": list(recipes)} if recipes is not None else {}
        body |= {"n_samples": n_samples} if n_samples is not None else {}
        return self._send("POST", f"/v1/models/{reference}/analysis", body, attempts=ATTEMPTS)

    def model_analysis(self, reference: str) -> JsonObject:
        """The analysis of the model that was asked for last."""
        return self._read(f"/v1/models/{reference}/analysis")

    def analysis(self, analysis_id: str, *, wait_s: float = 0.0) -> JsonObject:
        """The analysis; with ``wait_s`` the answer comes when it has ended or the time is over."""
        return self._read(f"/v1/analyses/{analysis_id}", {"wait": wait_s or None}, timeout=wait_s + 30)

    def cancel_analysis(self, analysis_id: str) -> JsonObject:
        """Stop a waiting or running analysis."""
        return self._send("POST", f"/v1/analyses/{analysis_id}/cancel", {}, attempts=ATTEMPTS)

    def wait_for_analysis(
        self, analysis_id: str, on_change: Callable[[JsonObject], None] | None = None, *, timeout_s: float | None = None
    ) -> JsonObject:
        """Wait until the analysis has ended; ``on_change`` is called with what is known of it every few seconds."""

        def ask(before: JsonObject | None) -> JsonObject:  # noqa: ARG001  # it has no versions to pass on
            return self.analysis(analysis_id, wait_s=ANALYSIS_LOOK_S)

        return wait_until_ended(ask, f"analysis {analysis_id}", on_change=on_change, timeout_s=timeout_s)

    def _data(self, data: Path | str) -> JsonObject:
        """The specification of a file, which is uploaded, or of a named data set."""
        if isinstance(data, Path):
            return {"kind": "npz", "sha256": self.upload(data)}
        return {"kind": "generated" if data in GENERATED_DATA else "packaged", "name": data}
