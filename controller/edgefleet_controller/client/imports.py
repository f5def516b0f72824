"""Profiles of other tools."""

from pathlib import Path

from edgefleet_controller.client.connection import ATTEMPTS
from edgefleet_controller.client.errors import JsonObject
from edgefleet_controller.client.files import FileCalls


class ImportCalls(FileCalls):
    """Figures that somebody measured elsewhere."""

    def import_profile(self, path: Path, *, format: str, model: str, device_name: str, **facts: object) -> JsonObject:  # noqa: A002  # the API's name
        """Keep a profile of another tool as a result of provenance imported; the same one is kept once.

        ``format``: trtexec-times, onnxruntime-perf-test or mlperf-loadgen-detail. ``facts``: board, name, target, batch,
        accuracy.
        """
        body: JsonObject = {"format": format, "blob_sha256": self.upload(path), "file_name": path.name}
        body |= {"model": model, "device_name": device_name}
        body |= {name: value for name, value in facts.items() if value is not None}
        return self._send("POST", "/v1/imports", body, attempts=ATTEMPTS)
