"""The formats of profiles that can be imported, by name. A new one is a file beside this and a line here."""

from collections.abc import Mapping
from types import MappingProxyType

from edgefleet_controller.imports.errors import UnknownProfileFormat
from edgefleet_controller.imports.loadgen_detail import LoadgenDetail
from edgefleet_controller.imports.onnxruntime_perf_test import OnnxruntimePerfTest
from edgefleet_controller.imports.profile import ProfileFormat
from edgefleet_controller.imports.trtexec_times import TrtexecTimes

FORMATS: Mapping[str, ProfileFormat] = MappingProxyType(
    {one.name: one for one in (TrtexecTimes(), OnnxruntimePerfTest(), LoadgenDetail())}
)


def format_called(name: str) -> ProfileFormat:
    """The format of this name; UnknownProfileFormat if there is none."""
    if name not in FORMATS:
        raise UnknownProfileFormat(f"No format is called {name!r}; the formats are {', '.join(FORMATS)}.")
    return FORMATS[name]
