"""Edge TPU: libedgetpu as a delegate of LiteRT's or TensorFlow Lite's interpreter; pycoral where it is there.

The option ``device``, or a run's ``delegate``, chooses the accelerator as libedgetpu does: ``usb``, ``pci``, ``usb:0``,
``pci:1``, ``:2`` (of any kind, counted); ``edgetpu`` or nothing means any (libedgetpu,
edgetpu_delegate_for_custom_op_tflite_plugin.cc).
"""

import ctypes
import re
from typing import Any, Dict, List, Optional, Tuple

from edgefleet_agent.runner.backend import LoadRequest, Model
from edgefleet_agent.runner.edgetpu_devices import find_accelerators
from edgefleet_agent.runner.edgetpu_file import is_edgetpu_file, is_tflite_file
from edgefleet_agent.runner.failure import RunnerFailure
from edgefleet_agent.runner.tflite_tensors import as_model

try:
    from pycoral.utils import edgetpu as coral
except ImportError:  # it is not needed, and the public index has an unrelated package of that name
    coral = None

try:
    import ai_edge_litert as vendor
    from ai_edge_litert.interpreter import Interpreter, load_delegate
except ImportError as missing:
    try:
        import tflite_runtime as vendor
        from tflite_runtime.interpreter import Interpreter, load_delegate
    except ImportError as second:
        raise ImportError("neither ai_edge_litert ({}) nor tflite_runtime ({})".format(missing, second)) from second

LIBRARY = "libedgetpu.so.1"
DELEGATE_NODE = "EdgeTpuDelegateForCustomOp"
"""Name of the operator that libedgetpu puts in the place of a compiled part (edgetpu_delegate_for_custom_op.cc)."""
CUSTOM_NODE = "edgetpu-custom-op"
DEVICE = re.compile(r"(usb|pci)?(:[0-9]+)?")
VERSION = re.compile(r"RuntimeVersion\(([0-9]+)\)")


def open_model(request: LoadRequest) -> Model:
    """Open the accelerator, load the file on it and check that it took its part."""
    _refuse_other_files(request.artifact)
    interpreter, facts = _create_interpreter(request, _device(request.options))
    facts["placement"] = _check_placement(interpreter, request.options.get("macs_share"))
    return as_model(interpreter, facts)


def _refuse_other_files(path: str) -> None:
    if not is_tflite_file(path):
        raise RunnerFailure("artifact_unreadable", "this is no TFLite file; check that it is whole, and the right one")
    if not is_edgetpu_file(path):
        raise RunnerFailure(
            "not_accelerated",
            "this file was not compiled for the Edge TPU (it holds no edgetpu-custom-op), so that all of it would run on "
            "the CPU; compile it with the target coral-usb or coral-dev-board, or run it with the runtime litert",
        )


def _device(options: "Dict[str, Any]") -> str:
    device = options.get("device") or options.get("delegate") or ""
    if device == "edgetpu":
        return ""
    if not isinstance(device, str) or DEVICE.fullmatch(device) is None:
        raise RunnerFailure(
            "not_supported",
            "device {!r} is none of usb, pci, usb:N, pci:N and :N; choose one, or leave it out for any".format(device),
        )
    return device


def _create_interpreter(request: LoadRequest, device: str) -> "Tuple[Any, Dict[str, Any]]":
    speeds = [item.usb_mbit_s for item in find_accelerators() if item.bus == "usb"]
    facts = dict(_versions(), device=device or "any", usb_mbit_s=speeds)
    try:
        if coral is not None:
            interpreter = coral.make_interpreter(request.artifact, device=device or None)
            facts["interpreter_package"] = "pycoral"
        else:
            delegate = load_delegate(LIBRARY, {"device": device} if device else {})
            interpreter = Interpreter(
                model_path=request.artifact, num_threads=request.threads, experimental_delegates=[delegate]
            )
            facts["interpreter_package"] = vendor.__name__
        interpreter.allocate_tensors()
    except OSError as err:
        raise RunnerFailure(
            "runtime_unavailable", "{} can't be loaded ({}); install libedgetpu1-std".format(LIBRARY, err)
        ) from err
    except (ValueError, RuntimeError) as err:
        raise _loading_failure((str(err).strip().splitlines() or ["no message"])[0][:500], device) from err
    return interpreter, facts


def _loading_failure(text: str, device: str) -> RunnerFailure:
    """What the interpreter's words mean: they are all it tells."""
    if "load delegate" in text.lower():
        return RunnerFailure(
            "accelerator_missing",
            "no Edge TPU{} could be opened ({}); plug it in, check with lsusb (18d1:9302 or 1a6e:089a) or for /dev/apex_0, "
            "add the agent's account to the group plugdev or apex, and see that no other process holds it".format(
                " " + device if device else "", text
            ),
        )
    if CUSTOM_NODE in text and "unresolved" in text.lower():
        return RunnerFailure(
            "not_accelerated", "libedgetpu did not take its part of the file: {}; install it again".format(text)
        )
    return RunnerFailure(
        "artifact_unreadable",
        "the Edge TPU can't load the artifact: {}; check that the file is whole and compiled for this board's libedgetpu "
        "(runtime version {}) or an older one".format(text, _versions()["version"]),
    )


def _check_placement(interpreter: Any, macs_share: "Optional[float]") -> "Dict[str, Any]":
    """Who runs what; raises not_accelerated where the delegate took nothing.

    An operator that libedgetpu took stays in the list of operators, and one of libedgetpu's own joins it. Interpreters
    that tell nothing of their operators leave the counts unknown: they could not have allocated the file otherwise.
    macs_share: of the compiled part, where the manifest knows it: one compiled operator stands for many.
    """
    names = _operator_names(interpreter)
    if names is None:
        return {"reason": "this interpreter does not list its operators"}
    n_parts = names.count(CUSTOM_NODE)
    n_taken = sum(DELEGATE_NODE in name for name in names)
    if n_taken < max(n_parts, 1):
        raise RunnerFailure(
            "not_accelerated",
            "the Edge TPU took {} of the {} compiled parts of this file; the rest would run on the CPU, if at all".format(
                n_taken, n_parts
            ),
            {"operators": names[:100]},
        )
    n_cpu = len(names) - n_parts - n_taken
    if n_cpu == 0:
        return {"shares": {"edgetpu": 1.0}, "n_operators": {"edgetpu": n_taken}, "basis": "operators"}
    counts = {"edgetpu": n_taken, "cpu": n_cpu}
    if macs_share is None:
        return {"n_operators": counts, "reason": "one compiled operator stands for many, and no manifest says for what"}
    return {"shares": {"edgetpu": macs_share, "cpu": 1.0 - macs_share}, "n_operators": counts, "basis": "macs"}


def _operator_names(interpreter: Any) -> "Optional[List[str]]":
    """Names of all operators; the method is private, and there since TensorFlow Lite 2.5."""
    list_operators = getattr(interpreter, "_get_ops_details", None)
    if list_operators is None:
        return None
    return [str(item["op_name"]) for item in list_operators()]


def probe() -> "Dict[str, Any]":
    """Version of libedgetpu's runtime and the interpreter, for the agent's inventory; ImportError without libedgetpu."""
    try:
        return _describe(_library_version())
    except OSError as err:
        raise ImportError("{} ({}); install libedgetpu1-std".format(LIBRARY, err)) from err


def _versions() -> "Dict[str, Any]":
    """The same beside a loaded model, where a library under another name is no reason to fail."""
    try:
        return _describe(_library_version())
    except OSError:
        return _describe("unknown")


def _describe(version: str) -> "Dict[str, Any]":
    number = VERSION.search(version)
    providers = [vendor.__name__] + (["pycoral"] if coral is not None else [])
    return {"version": number.group(1) if number else version, "providers": providers}


def _library_version() -> str:
    """What libedgetpu says of itself, such as ``BuildLabel(...), RuntimeVersion(14)``; OSError where it is not there."""
    if coral is not None:
        return str(coral.get_runtime_version())
    library = ctypes.CDLL(LIBRARY)
    library.edgetpu_version.restype = ctypes.c_char_p
    return (library.edgetpu_version() or b"unknown").decode("utf-8", "replace")
