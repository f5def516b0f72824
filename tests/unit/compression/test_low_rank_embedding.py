"""A factorised embedding comes back from its file."""

from pathlib import Path

import torch

from edgefleet_compression.candidate import TorchCandidate, load_candidate, save_candidate
from edgefleet_compression.context import Context
from edgefleet_compression.data import keywords
from edgefleet_compression.passes.application import apply
from edgefleet_compression.passes.specs import LowRank
from edgefleet_compression.tasks import new_candidate


def test_a_factorised_embedding_is_restored_with_its_rank(tmp_path: Path) -> None:
    candidate = new_candidate("transformer", {"vocabulary": 64, "width": 32}, keywords.load(0, n_samples=64), seed=0)
    spec = LowRank(energy=0.6, layers=("embedding",))

    made = apply(spec, candidate, Context(None, 0))
    restored = load_candidate(save_candidate(made, tmp_path / "candidate.safetensors"))

    assert isinstance(made, TorchCandidate)
    assert isinstance(restored, TorchCandidate)
    assert made.structure.factorised == {"token": "channel"}
    tokens = torch.arange(16)[None]
    torch.testing.assert_close(restored.model(tokens), made.model(tokens), atol=1e-6, rtol=1e-5)
