"""Uploads and downloads; files are named by their SHA-256."""

import hashlib
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx

from edgefleet_controller.client import connection
from edgefleet_controller.client.connection import ATTEMPTS, Connection
from edgefleet_controller.client.errors import ClientError, ControllerUnreachable, JsonObject, error_of

CHUNK_BYTES = 1024 * 1024
IN_PARTS_BYTES = 8 * CHUNK_BYTES
"""Length from which an upload that broke off is worth going on with."""


class FileCalls(Connection):
    """Files of the store."""

    def upload(self, path: Path) -> str:
        """Store a file under its SHA-256, which is returned; a file that is there already is stored once."""
        digest = _sha256(path)
        if path.stat().st_size >= IN_PARTS_BYTES:
            self._upload_in_parts(path, digest)
        else:
            headers = _upload_headers(path, 0)
            content = partial(_rest_of, path, 0)
            self._request("PUT", f"/v1/blobs/{digest}", make_content=content, headers=headers, attempts=ATTEMPTS)
        return digest

    def _upload_in_parts(self, path: Path, digest: str) -> None:
        """Send the file; after a lost connection, or in a later call, only what has not arrived yet."""
        for attempt in range(1, ATTEMPTS + 1):
            offset = int(self._read(f"/v1/blobs/{digest}/upload")["received_bytes"])
            headers = _upload_headers(path, offset) | {"Upload-Offset": str(offset), "Upload-Complete": "true"}
            content = partial(_rest_of, path, offset)
            try:
                self._request("PATCH", f"/v1/blobs/{digest}", make_content=content, headers=headers, attempts=1)
            except ClientError as err:
                if attempt == ATTEMPTS or not (isinstance(err, ControllerUnreachable) or err.problem.get("retry")):
                    raise
                time.sleep(connection.BACKOFF_S * 2 ** (attempt - 1))
            else:
                return

    def download_artifact(self, sha256: str, path: Path) -> Path:
        """Store the artifact at ``path``; a partial or damaged download is refused and leaves nothing."""
        return self._download(f"/v1/artifacts/{sha256}", sha256, path)

    def download_file(self, sha256: str, path: Path) -> Path:
        """Store any file of the store, such as the raw samples of a run, at ``path``; as ``download_artifact``."""
        return self._download(f"/v1/blobs/{sha256}", sha256, path)

    def manifest(self, sha256: str) -> JsonObject:
        """The manifest of an artifact."""
        return self._read(f"/v1/artifacts/{sha256}/manifest")

    def _download(self, address: str, sha256: str, path: Path) -> Path:
        digest = hashlib.sha256()
        unfinished = path.with_name(path.name + ".partial")
        try:
            with self._http.stream("GET", address) as response, unfinished.open("wb") as file:
                if response.status_code >= 400:
                    response.read()
                    raise error_of(response)
                for chunk in response.iter_bytes(CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
            if digest.hexdigest() != sha256:
                raise ClientError("artifact_hash_mismatch", f"{sha256} arrived damaged; download it again")
            unfinished.replace(path)
        except httpx.TransportError as err:
            raise ControllerUnreachable(self.url, err) from err
        finally:
            unfinished.unlink(missing_ok=True)
        return path


def _upload_headers(path: Path, offset: int) -> dict[str, str]:
    return {"Content-Type": "application/octet-stream", "Content-Length": str(path.stat().st_size - offset)}


def _rest_of(path: Path, offset: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(offset)
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
