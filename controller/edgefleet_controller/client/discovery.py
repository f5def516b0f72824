"""Finds the controller that the environment names."""

import json
import os
from pathlib import Path

from edgefleet_controller.client.client import Client
from edgefleet_controller.client.errors import ClientError
from edgefleet_controller.data_dir import default_data_dir


def connect(url: str | None = None, data_dir: Path | None = None) -> Client:
    """A client from what the environment offers.

    The address: ``url``, ``$EDGEFLEET_URL``, what a running ``edgefleet serve`` wrote into the data directory, or
    the default port. The token: ``$EDGEFLEET_TOKEN`` or the data directory's operator token. ``$EDGEFLEET_PROJECT``
    names the project, ``$EDGEFLEET_CA_FILE`` the authority of a controller with a certificate of its own making. The data
    directory: ``data_dir``, ``$EDGEFLEET_HOME``, or the default one.
    """
    folder = data_dir or default_data_dir()
    address = url or os.environ.get("EDGEFLEET_URL") or _served(folder, "url") or "http://127.0.0.1:8470"
    token = os.environ.get("EDGEFLEET_TOKEN") or _operator_token(folder)
    is_served_here = not url and not os.environ.get("EDGEFLEET_URL")
    ca_file = os.environ.get("EDGEFLEET_CA_FILE") or (_served(folder, "ca_file") if is_served_here else None)
    return Client(
        address, token, project=os.environ.get("EDGEFLEET_PROJECT"), ca_file=Path(ca_file) if ca_file else None
    )


def _served(data_dir: Path, name: str) -> str | None:
    try:
        return str(json.loads((data_dir / "serve.json").read_text())[name])
    except (OSError, ValueError, KeyError):
        return None


def _operator_token(data_dir: Path) -> str:
    try:
        return (data_dir / "operator.token").read_text().strip()
    except OSError as err:
        raise ClientError(
            "no_token",
            f"no operator token at {data_dir / 'operator.token'} ({err.strerror}); set EDGEFLEET_TOKEN, "
            "or name the controller's data directory with --data-dir",
        ) from err
