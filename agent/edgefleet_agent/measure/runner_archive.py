import zipfile
from importlib import resources
from pathlib import Path

PACKAGE = "edgefleet_agent"
FIXED_DATE = (1980, 1, 1, 0, 0, 0)


def write_runner_archive(path: Path) -> Path:
    """Write a zip with the runner under an empty ``edgefleet_agent/__init__.py`` and return its path.

    A vendor interpreter gets this file alone as PYTHONPATH: the agent's own site-packages would make a Python 3.6 import
    the agent's numpy.
    """
    with zipfile.ZipFile(path, "w") as archive:
        _add(archive, PACKAGE + "/__init__.py", b"")
        for source in sorted(resources.files(PACKAGE + ".runner").iterdir(), key=lambda item: item.name):
            if source.name.endswith(".py"):
                _add(archive, "{}/runner/{}".format(PACKAGE, source.name), source.read_bytes())
    return path


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, FIXED_DATE), content)
