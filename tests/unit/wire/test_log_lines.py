import io
import json
import logging
from collections.abc import Iterator

import pytest

from edgefleet_agent.wire.log_lines import configure_logging, current_identifiers, log_context


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


def lines_of(form: str, **options: object) -> io.StringIO:
    stream = io.StringIO()
    configure_logging(form, stream=stream, **options)  # type: ignore[arg-type]
    return stream


def test_json_line_is_one_object_with_the_identifiers_of_its_context() -> None:
    stream = lines_of("json")
    with log_context(run_id="run_1", device_id="dev_1"):
        logging.getLogger("x").info("took %d s\nand more", 3)
    logging.getLogger("x").warning("outside")
    inside, outside = map(json.loads, stream.getvalue().splitlines())
    assert (inside["level"], inside["logger"], inside["message"]) == ("info", "x", "took 3 s\nand more")
    assert (inside["run_id"], inside["device_id"], inside["time"][-1]) == ("run_1", "dev_1", "Z")
    assert "run_id" not in outside


def test_line_s_own_identifier_wins_over_the_context_s_and_this_over_the_program_s() -> None:
    stream = lines_of("json", identify=lambda: {"request_id": "req", "run_id": "of the program"})
    with log_context(run_id="of the context", job_id="job_1"):
        logging.getLogger("x").info("a", extra={"job_id": "job_2"})
    line = json.loads(stream.getvalue())
    assert (line["request_id"], line["run_id"], line["job_id"]) == ("req", "of the context", "job_2")


def test_exception_is_part_of_the_object() -> None:
    stream = lines_of("json")
    try:
        raise KeyError("lost")
    except KeyError:
        logging.getLogger("x").exception("it failed")
    assert "KeyError: 'lost'" in json.loads(stream.getvalue())["exception"]


def test_text_line_names_the_identifiers_at_its_end() -> None:
    stream = lines_of("text")
    with log_context(run_id="run_1"):
        logging.getLogger("x").info("hello")
    assert stream.getvalue().endswith("INFO x: hello [run_id=run_1]\n")


def test_inner_context_adds_to_the_outer_one_and_ends_with_its_block() -> None:
    with log_context(job_id="j"):
        with log_context(run_id="r", device_id=None):
            assert current_identifiers() == {"job_id": "j", "run_id": "r"}
        assert current_identifiers() == {"job_id": "j"}


def test_unknown_format_and_identifier_are_refused() -> None:
    with pytest.raises(ValueError, match="no format"):
        configure_logging("xml")
    with pytest.raises(ValueError, match="no identifier"), log_context(colour="red"):
        raise AssertionError("never reached")
