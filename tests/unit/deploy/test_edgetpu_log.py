"""The Edge TPU compiler's output.

The texts are constructed after the format that the vendor documents and that issues of google-coral/edgetpu quote (317,
358, 490, 829); they are no recordings, and their figures are invented.
"""

import pytest

from edgefleet_deploy.edgetpu_log import parse_compiler_log

PARTLY = """\
Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 3129 ms.

Input model: model.tflite
Input size: 4.35MiB
Output model: model_edgetpu.tflite
Output size: 5.66MiB
On-chip memory used for caching model parameters: 4.50MiB
On-chip memory remaining for caching model parameters: 256.75KiB
Off-chip memory used for streaming uncached model parameters: 64.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 10
Operation log: model_edgetpu.log

Model successfully compiled but not all operations are supported by the Edge TPU. A percentage of the model will instead \
run on the CPU, which is slower. If possible, consider updating your model to use only operations supported by the Edge \
TPU. For details, visit g.co/coral/model-reqs.
Number of operations that will run on Edge TPU: 7
Number of operations that will run on CPU: 3

Operator                       Count      Status

DEQUANTIZE                     1          Operation is working on an unsupported data type
CONV_2D                        6          Mapped to Edge TPU
CONV_2D                        1          More than one subgraph is not supported
LOGISTIC                       1          Operation is otherwise supported, but not mapped due to some unspecified limitation
QUANTIZE                       1          Mapped to Edge TPU
Compilation child process completed within timeout period.
Compilation succeeded!
"""

WHOLLY = """\
Edge TPU Compiler version 15.0.340273435

Model compiled successfully in 12 ms.

On-chip memory used for caching model parameters: 3.00KiB
On-chip memory remaining for caching model parameters: 7.67MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 2

Operator                       Count      Status

CONV_2D                        1          Mapped to Edge TPU
SOFTMAX                        1          Mapped to Edge TPU
"""

UNKNOWN_OPERATOR = """\
Edge TPU Compiler version 16.0.384591198
ERROR: Didn't find op for builtin opcode 'CONV_2D' version '6'. An older version of this builtin might be supported.

ERROR: Registration failed.

Invalid model: model.tflite
Model could not be parsed
"""


class TestPartlyMapped:
    def test_memory_is_in_bytes(self) -> None:
        log = parse_compiler_log(PARTLY)

        assert log.on_chip_used_bytes == 4.5 * 1024 * 1024
        assert log.on_chip_remaining_bytes == 256.75 * 1024
        assert log.off_chip_bytes == 64

    def test_counts_and_version(self) -> None:
        log = parse_compiler_log(PARTLY)

        assert (log.version, log.n_subgraphs, log.n_mapped, log.n_cpu) == ("16.0.384591198", 1, 7, 3)
        assert log.errors == ()

    def test_table_tells_who_stays_on_the_cpu_and_why(self) -> None:
        rows = parse_compiler_log(PARTLY).operators

        assert [(row.name, row.n_operators, row.mapped) for row in rows] == [
            ("DEQUANTIZE", 1, False),
            ("CONV_2D", 6, True),
            ("CONV_2D", 1, False),
            ("LOGISTIC", 1, False),
            ("QUANTIZE", 1, True),
        ]
        assert rows[0].status == "Operation is working on an unsupported data type"
        assert rows[2].status == "More than one subgraph is not supported"


def test_wholly_mapped_network_has_its_counts_from_the_table() -> None:
    log = parse_compiler_log(WHOLLY)

    assert (log.n_mapped, log.n_cpu, log.off_chip_bytes) == (2, 0, 0)


@pytest.mark.parametrize(
    ("text", "first_error"),
    [
        (UNKNOWN_OPERATOR, "ERROR: Didn't find op for builtin opcode 'CONV_2D' version '6'."),
        (
            "Edge TPU Compiler version 15.0.340273435\n\nInternal compiler error. Aborting! \n",
            "Internal compiler error. Aborting!",
        ),
        (
            "Edge TPU Compiler version 16.0.384591198\nCompilation failed: Model failed in Tflite interpreter. Please\n",
            "Compilation failed: Model failed in Tflite interpreter.",
        ),
    ],
)
def test_failures_are_found(text: str, first_error: str) -> None:
    log = parse_compiler_log(text)

    assert log.errors[0].startswith(first_error)
    assert (log.n_mapped, log.n_cpu, log.on_chip_used_bytes, log.operators) == (None, None, None, ())
    assert log.version is not None


@pytest.mark.parametrize("text", ["", "\x00\xff", "Number of Edge TPU subgraphs: many", "Operator Count Status\nA B C"])
def test_other_text_says_nothing(text: str) -> None:
    log = parse_compiler_log(text)

    assert (log.version, log.n_subgraphs, log.n_mapped, log.operators, log.errors) == (None, None, None, (), ())
