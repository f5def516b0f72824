"""An S3-compatible server on loopback, where the packages for it are installed."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def s3_bucket() -> Iterator[str]:
    """The name of a bucket on a server of our own; skipped without the extra ``s3`` and moto's server."""
    pytest.importorskip("s3fs", reason="s3fs is not installed (extra s3)")
    server = pytest.importorskip("moto.server", reason="moto's server is not installed")
    threaded = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    threaded.start()
    host, port = threaded.get_host_and_port()
    changed = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        import s3fs

        s3fs.S3FileSystem().mkdir("edgefleet-test")
        yield "edgefleet-test"
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        threaded.stop()
