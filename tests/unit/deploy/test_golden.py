"""Golden outputs: what is chosen, what is refused, and the file they travel in."""

import io

import numpy as np
import pytest

from edgefleet_deploy.errors import GoldenInvalid
from edgefleet_deploy.golden import GoldenPair, make_golden, parse_golden, write_golden


def pair(**changes: object) -> GoldenPair:
    values: dict[str, object] = {
        "inputs": {"x": np.ones((2, 3), dtype=np.float32)},
        "reference": {"b": np.ones((2, 4)), "a": np.zeros((2, 4))},
        "host_snr_db": {"b": 31.5, "a": None},
        "source": "random",
    }
    return GoldenPair(**(values | changes))  # type: ignore[arg-type]


class TestMakeGolden:
    def test_takes_the_first_eight_samples(self) -> None:
        inputs = np.arange(1, 41, dtype=np.float32).reshape(20, 2)

        golden = make_golden({"x": inputs}, {"y": inputs}, {"y": inputs}, "validation")

        assert golden is not None
        assert golden.n_samples == 8
        assert golden.inputs["x"].tolist() == inputs[:8].tolist()

    def test_leaves_samples_of_zeros_out(self) -> None:
        inputs = np.array([[0.0, 0.0], [0.0, 3.0], [0.0, 0.0], [5.0, 0.0]])

        golden = make_golden({"x": inputs}, {"y": inputs}, {"y": inputs}, "train")

        assert golden is not None
        assert golden.inputs["x"].tolist() == [[0.0, 3.0], [5.0, 0.0]]

    def test_is_none_when_every_sample_is_zero(self) -> None:
        zeros = np.zeros((3, 2))
        assert make_golden({"x": zeros}, {"y": zeros}, {"y": zeros}, "train") is None

    def test_large_samples_are_fewer(self) -> None:
        inputs = np.ones((8, 400_000), dtype=np.float32)  # 1.6 MB each, of 4 MiB
        outputs = np.ones((8, 2))

        golden = make_golden({"x": inputs}, {"y": outputs}, {"y": outputs}, "random")

        assert golden is not None
        assert golden.n_samples == 2

    def test_host_snr_is_that_of_the_chosen_samples(self) -> None:
        """A difference of a hundredth of the signal is 40 dB; an equal output has none."""
        inputs = np.ones((4, 1))
        reference = {"off": np.full((4, 3), 2.0), "same": np.ones((4, 3))}
        found = {"off": np.full((4, 3), 2.02), "same": np.ones((4, 3))}

        golden = make_golden({"x": inputs}, reference, found, "random")

        assert golden is not None
        assert golden.host_snr_db["off"] == pytest.approx(40.0)
        assert golden.host_snr_db["same"] is None


class TestGoldenPairRefuses:
    def test_lengths_that_differ(self) -> None:
        with pytest.raises(GoldenInvalid, match="length"):
            pair(inputs={"x": np.ones((3, 3))})

    def test_nan(self) -> None:
        with pytest.raises(GoldenInvalid, match="finite"):
            pair(reference={"b": np.full((2, 4), np.nan), "a": np.zeros((2, 4))})

    def test_inputs_of_zeros(self) -> None:
        with pytest.raises(GoldenInvalid, match="zero"):
            pair(inputs={"x": np.zeros((2, 3))})

    def test_an_snr_of_another_output(self) -> None:
        with pytest.raises(GoldenInvalid, match="SNR"):
            pair(host_snr_db={"b": 1.0})


class TestGoldenFile:
    def test_comes_back_with_order_and_types(self) -> None:
        written = pair()

        read = parse_golden(write_golden(written))

        assert list(read.reference) == ["b", "a"]
        assert read.host_snr_db == {"b": 31.5, "a": None}
        assert read.source == "random"
        assert read.inputs["x"].dtype == np.float32

    def test_equal_pairs_give_equal_bytes(self) -> None:
        assert write_golden(pair()) == write_golden(pair())

    def test_a_truncated_file_is_refused(self) -> None:
        with pytest.raises(GoldenInvalid, match="cannot be read"):
            parse_golden(write_golden(pair())[:-40])

    def test_a_pickle_is_refused(self) -> None:
        buffer = io.BytesIO()
        np.savez(buffer, input_names=np.array([{"a": 1}], dtype=object))
        with pytest.raises(GoldenInvalid, match="cannot be read"):
            parse_golden(buffer.getvalue())

    def test_a_missing_array_is_refused(self) -> None:
        buffer = io.BytesIO()
        np.savez(buffer, input_names=np.array(["x"]))
        with pytest.raises(GoldenInvalid, match="cannot be read"):
            parse_golden(buffer.getvalue())
