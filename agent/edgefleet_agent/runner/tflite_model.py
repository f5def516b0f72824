"""What the TFLite runtimes have in common: one Interpreter class, of two packages that must never be mixed up."""

import base64
from typing import Any, Dict, NamedTuple

from edgefleet_agent.runner.backend import LoadRequest, Model
from edgefleet_agent.runner.failure import RunnerFailure
from edgefleet_agent.runner.tflite_delegation import DELEGATED, placement
from edgefleet_agent.runner.tflite_tensors import as_model

EMPTY_MODEL = base64.b64decode(
    "GAAAAFRGTDMAAA4AFAAQAAwACAAAAAQADgAAABAAAAAcAAAAhAAAAAMAAAABAAAACAAAAAQABAAEAAAAAQAAABAAAAAMABQAEAAMAAgABAAMAAAA"
    "EAAAABAAAAAUAAAAGAAAAAAAAAABAAAAAAAAAAEAAAAAAAAAAQAAABAAAAAMAAwACAAAAAAABAAMAAAACAAAAAwAAAABAAAAeAAAAAEAAAABAAAA"
    "AAAAAA=="
)
"""The smallest model there is: one float input that is its own output, no operator (schema.fbs, version 3)."""

DELEGATES = ("xnnpack", "none")
"""Delegates that a run may ask for; without a wish the runtime applies its own default, XNNPACK."""

EDGETPU_OPERATOR = "edgetpu-custom-op"
"""Custom operator that stands for the part of a file compiled for the Edge TPU (coral.ai/docs/edgetpu/compiler)."""


class Vendor(NamedTuple):
    """A runtime's package: its name on the index, version, Interpreter and OpResolverType."""

    name: str
    version: str
    interpreter: Any
    resolvers: Any


def probe(vendor: Vendor) -> "Dict[str, Any]":
    """Version, for the agent's inventory. Builds an Interpreter: some packages import well and die with SystemError then."""
    vendor.interpreter(model_content=EMPTY_MODEL).allocate_tensors()
    return {"version": vendor.version, "providers": ["CPU", "XNNPACK"]}


def open_model(vendor: Vendor, request: LoadRequest) -> Model:
    """Build an Interpreter with the wished delegate and allocate its tensors."""
    delegate = request.options.get("delegate")
    interpreter = _create(vendor, request, delegate)
    return as_model(interpreter, _facts(vendor, interpreter, delegate))


def _facts(vendor: Vendor, interpreter: Any, wished: Any) -> "Dict[str, Any]":
    """Versions, the delegate that was wished for and the one that took a part; both run on the CPU's cores."""
    operators = interpreter._get_ops_details()
    names = [item["op_name"] for item in operators]
    if wished == "xnnpack" and DELEGATED not in names:
        raise RunnerFailure(
            "provider_unavailable",
            "XNNPACK takes no part of this file under {} {}, so that it would be measured in its name without it; leave "
            "the delegate to the runtime, or take the float file".format(vendor.name, vendor.version),
        )
    return {
        "version": vendor.version,
        "package": vendor.name,
        "delegate_wished": wished or "default",
        "delegate": "xnnpack" if DELEGATED in names else "none",
        "placement": placement(operators),
    }


def _create(vendor: Vendor, request: LoadRequest, delegate: Any) -> Any:
    try:
        interpreter = vendor.interpreter(
            model_path=request.artifact,
            num_threads=request.threads,
            experimental_op_resolver_type=_resolver(vendor, delegate),
        )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as err:
        raise _load_failure(vendor, str(err)) from err
    return interpreter


def _resolver(vendor: Vendor, delegate: Any) -> Any:
    if delegate not in (None,) + DELEGATES:
        raise RunnerFailure(
            "provider_unavailable",
            "delegate {!r} is unknown to {}; name one of {}, or none to take its default".format(
                delegate, vendor.name, ", ".join(DELEGATES)
            ),
        )
    kinds = vendor.resolvers
    return kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES if delegate == "none" else kinds.AUTO


def _load_failure(vendor: Vendor, message: str) -> RunnerFailure:
    first = (message.strip().splitlines() or ["no message"])[0][:500]
    if EDGETPU_OPERATOR in message:
        return RunnerFailure(
            "wrong_runtime",
            "the file is compiled for the Edge TPU, and {} {} runs on the CPU; measure it on a device with an Edge TPU, or "
            "the file it was compiled from here".format(vendor.name, vendor.version),
            {"message": first},
        )
    return RunnerFailure(
        "artifact_unreadable",
        "{} {} can't load the artifact: {}; check that the file is a whole TFLite model whose operators this runtime "
        "knows".format(vendor.name, vendor.version, first),
    )
