import pytest
import torch

from edgefleet_compression.candidate import OnnxCandidate, TorchCandidate
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.testing import tiny_candidate, tiny_data, tiny_onnx


@pytest.fixture(scope="session")
def data() -> DataSet:
    return tiny_data()


@pytest.fixture
def candidate() -> TorchCandidate:
    return tiny_candidate()


@pytest.fixture
def onnx_candidate() -> OnnxCandidate:
    return OnnxCandidate(tiny_onnx())


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Several threads on a loaded machine wait for each other; one is faster for networks of this size."""
    torch.set_num_threads(1)
