"""What a runtime must offer to be measured. One file per runtime; its vendor module is imported in that file only.

A backend file ends in ``_`` (so that it can't shadow the vendor's module) and offers
``open_model(request: LoadRequest) -> Model``.
"""

import importlib
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

import numpy as np

from edgefleet_agent.runner.failure import RunnerFailure

Arrays = Dict[str, "np.ndarray[Any, Any]"]


class TensorFacts(NamedTuple):
    """An input or output: numpy's name of the type; an unknown dimension is None."""

    name: str
    shape: "List[int | None]"
    dtype: str


class LoadRequest(NamedTuple):
    """What a backend needs to load an artifact."""

    artifact: str
    threads: int
    options: "Dict[str, Any]"


class Model(NamedTuple):
    """A loaded artifact.

    ``prepare(arrays by input name)`` makes the argument of ``invoke``; ``read_outputs(result)`` lists the output arrays
    of one ``invoke``. ``invoke`` is the vendor's function with as little in between as can be: it is what gets timed.
    ``time_series``, where single inferences can't be timed from Python (trtexec): runs the timed part of one prepared
    argument for a timing.Window and returns a timing.Series; ``invoke`` is then neither timed nor used to warm up.
    ``end_profiling``, where the option profile_prefix was given and the runtime can: ends the profile, returns its path.
    """

    inputs: "List[TensorFacts]"
    outputs: "List[TensorFacts]"
    facts: "Dict[str, Any]"
    prepare: "Callable[[Arrays], Any]"
    invoke: "Callable[[Any], Any]"
    read_outputs: "Callable[[Any], Sequence[np.ndarray[Any, Any]]]"
    end_profiling: "Optional[Callable[[], str]]" = None
    time_series: "Optional[Callable[[Any, Any], Any]]" = None


def import_backend(module: str) -> "Callable[[LoadRequest], Model]":
    """The backend's ``open_model``; raises RunnerFailure(runtime_unavailable) when its runtime can't be imported."""
    try:
        backend = importlib.import_module(module)
    except Exception as err:  # noqa: BLE001 - a broken vendor module raises whatever it likes
        raise RunnerFailure(
            "runtime_unavailable",
            "{} can't be imported by this interpreter ({}: {}); install the runtime there or name another "
            "interpreter for it".format(module.rsplit(".", 1)[-1].rstrip("_"), type(err).__name__, err),
        ) from err
    return backend.open_model  # type: ignore[no-any-return]
