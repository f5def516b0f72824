"""Measures one artifact and exits: ``python -m edgefleet_agent.runner``, spoken to over stdin and stdout."""

import os
import platform
import sys
import traceback
from typing import Any, Dict, List

from edgefleet_agent.runner.failure import RunnerFailure
from edgefleet_agent.runner.protocol import EXIT_FAILED, PROTOCOL, Channel, die_with_parent

MESSAGE_LENGTH = 2000


def main() -> int:
    """Serve one request; the exit status is 0 after ``done`` and 3 after ``failed``."""
    channel = Channel()
    channel.send("hello", protocol=PROTOCOL, python=platform.python_version(), pid=os.getpid())
    request = channel.receive()
    die_with_parent(request.get("parent_pid"))
    try:
        result = _serve(request, channel)
    except RunnerFailure as failure:
        return _fail(channel, failure.code, failure.message, failure.detail)
    except MemoryError as err:
        return _fail(channel, "out_of_memory", "the runner ran out of memory: {}".format(err), {})
    except Exception as err:  # noqa: BLE001 - whatever a runtime raises is reported, then the process ends
        sys.stderr.write(traceback.format_exc())
        return _fail(channel, *_describe(err))
    channel.send("done", result=result)
    return 0


def _serve(request: "Dict[str, Any]", channel: Channel) -> "Dict[str, Any]":
    try:
        from edgefleet_agent.runner.blocks import serve_blocks
        from edgefleet_agent.runner.preparing import prepare
        from edgefleet_agent.runner.profiling import profile
        from edgefleet_agent.runner.session import measure
    except ImportError as err:  # numpy is missing or broken
        raise RunnerFailure(
            "runtime_unavailable", "this interpreter has no usable numpy ({}); install it there".format(err)
        ) from err
    tasks = {"prepare": prepare, "measure": measure, "blocks": serve_blocks, "profile": profile}
    return tasks[request.get("task", "measure")](request, channel)


def _describe(err: Exception) -> "List[Any]":
    text = "{}: {}".format(type(err).__name__, err)[:MESSAGE_LENGTH]
    if any(word in text for word in ("bad_alloc", "Failed to allocate memory", "out of memory")):
        return ["out_of_memory", "the runtime could not allocate memory: " + text, {}]
    lines = traceback.format_exc().splitlines()[-20:]
    return ["runner_crashed", "the runtime raised an exception: " + text, {"traceback": lines}]


def _fail(channel: Channel, code: str, message: str, detail: "Dict[str, Any]") -> int:
    channel.send("failed", error={"code": code, "message": message, "detail": detail})
    return EXIT_FAILED


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # skip vendors' clean-up, which is known to hang or crash after the work is done
