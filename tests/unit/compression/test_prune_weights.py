"""Zeroing weights after training: exact shares, and the layer-wise solver against least squares."""

import pytest
import torch
from torch import Tensor, nn

from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.context import Context
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.layerwise_solver import DAMPING, InputMoments, prune_rows
from edgefleet_compression.passes import prune_weights
from edgefleet_compression.passes.application import apply
from edgefleet_compression.passes.specs import PruneWeights
from edgefleet_compression.testing import tiny_candidate, tiny_data
from edgefleet_compression.training.sparsify import weights_of


@pytest.fixture(scope="module")
def data() -> DataSet:
    return tiny_data(n_samples=120)


def correlated(n: int, d: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(d, d, generator=generator, dtype=torch.float64)
    return torch.randn(n, d, generator=generator, dtype=torch.float64) @ mixing


def hessian_of(x: Tensor) -> Tensor:
    return 2.0 / len(x) * x.T @ x


def test_moments_of_a_convolution_are_those_of_its_patches() -> None:
    torch.manual_seed(0)
    layer, x = nn.Conv2d(2, 3, 3, stride=2, padding=1), torch.randn(4, 2, 7, 6)
    moments = InputMoments(layer)
    moments.add(x)
    hessian = moments.hessian()

    # for any weights, mean squared output = w' H w / 2
    output = nn.functional.conv2d(x, layer.weight, stride=2, padding=1).double()
    rows = layer.weight.detach().flatten(1).double()
    expected = output.square().mean(dim=(0, 2, 3))
    torch.testing.assert_close((rows @ hessian * rows).sum(dim=1) / 2, expected, atol=1e-6, rtol=1e-5)


def test_losing_the_first_weight_is_made_up_for_as_least_squares_would() -> None:
    x = correlated(200, 5)
    weight = torch.tensor([[1e-3, 1.0, -2.0, 3.0, 1.5]], dtype=torch.float64)  # the first one matters least
    hessian = hessian_of(x)

    pruned = prune_rows(weight, hessian, 0.2, "weights")

    damped = hessian + DAMPING * hessian.diagonal().mean() * torch.eye(5, dtype=torch.float64)
    rest = torch.linalg.solve(damped[1:, 1:], (damped @ weight[0])[1:])
    assert float(pruned[0, 0]) == 0.0
    torch.testing.assert_close(pruned[0, 1:], rest)


@pytest.mark.parametrize("amount", [0.3, 0.5])
def test_outputs_change_less_than_under_magnitude_pruning(amount: float) -> None:
    torch.manual_seed(0)
    x, weight = correlated(600, 160), torch.randn(8, 160, dtype=torch.float64)

    solved = prune_rows(weight, hessian_of(x), amount, "weights")
    threshold = weight.abs().flatten().kthvalue(round(amount * weight.numel())).values
    plain = weight * (weight.abs() > threshold)

    errors = [(x @ (weight - pruned).T).square().sum() for pruned in (solved, plain)]
    assert float(errors[0]) < float(errors[1])
    assert float((solved == 0).double().mean()) == pytest.approx(amount, abs=0.01)


def test_solver_keeps_two_of_every_four() -> None:
    torch.manual_seed(0)
    solved = prune_rows(torch.randn(4, 136), hessian_of(correlated(300, 136)), 0.5, "2:4")

    assert ((solved != 0).view(4, -1, 4).sum(dim=2) == 2).all()


def test_weights_of_inputs_that_are_always_zero_go_first_and_no_more_than_asked_for() -> None:
    x = correlated(50, 6)
    x[:, [2, 4]] = 0.0

    zeros = prune_rows(torch.full((2, 6), 9.0), hessian_of(x), 0.25, "weights") == 0

    assert int(zeros.sum()) == 3
    assert not zeros[:, [0, 1, 3, 5]].any()


@pytest.mark.parametrize("structure", ["weights", "2:4", "4:8"])
def test_solver_is_the_published_algorithm(structure: str) -> None:
    """Frantar & Alistarh 2023, algorithm 1: of N:M each part is chosen when its turn comes, not with its block."""
    torch.manual_seed(0)
    weight, hessian = torch.randn(6, 136, dtype=torch.float64), hessian_of(correlated(300, 136))
    m = int(structure.partition(":")[2] or 0)
    damped = hessian + DAMPING * hessian.diagonal().mean() * torch.eye(136, dtype=torch.float64)
    inverse = torch.linalg.inv(damped)
    expected, doomed = weight.clone(), torch.zeros_like(weight, dtype=torch.bool)
    for j in range(136):  # the inverse Hessian of the columns that are left, by elimination instead of Cholesky
        width = m or 128
        if j % width == 0:
            columns = list(range(j, min(j + width, 136)))
            loss = expected[:, columns].square() / _diagonals_at_their_turn(inverse, len(columns))
            dropped = loss.flatten().argsort()[: loss.numel() // 2]
            if m:
                doomed[:, columns] = torch.zeros_like(loss).scatter_(1, loss.argsort(dim=1)[:, : m // 2], 1.0).bool()
            else:
                doomed[:, columns] = torch.zeros(loss.numel()).index_fill_(0, dropped, 1.0).view_as(loss).bool()
        error = expected[:, j] * doomed[:, j] / inverse[0, 0]
        expected[:, j:] -= error[:, None] * inverse[0]
        inverse = (inverse - torch.outer(inverse[:, 0], inverse[0]) / inverse[0, 0])[1:, 1:]

    torch.testing.assert_close(prune_rows(weight, hessian, 0.5, structure), expected, atol=1e-9, rtol=1e-7)  # type: ignore[arg-type]


def _diagonals_at_their_turn(inverse: Tensor, n: int) -> Tensor:
    """Return [H^-1]_jj of the next n columns, each with the ones before it gone."""
    found = []
    for _ in range(n):
        found.append(inverse[0, 0])
        inverse = (inverse - torch.outer(inverse[:, 0], inverse[0]) / inverse[0, 0])[1:, 1:]
    return torch.stack(found)


def made_by(spec: PruneWeights, data: DataSet | None) -> TorchCandidate:
    made = apply(spec, tiny_candidate(), Context(data, seed=0))
    assert isinstance(made, TorchCandidate)
    return made


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("amount", [0.1, 0.5, 0.9])
def test_sparsity_is_what_was_asked_for(scope: str, amount: float) -> None:
    record = made_by(PruneWeights.model_validate({"amount": amount, "scope": scope}), None).history[-1]

    assert record.after.sparsity == pytest.approx(amount, abs=2e-4)


def test_solver_fits_layers_to_inputs_under_the_statistics_that_are_kept(
    data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers behind a pruned one are not fitted to signals that its BatchNorm, made anew at the end, will not let fade."""
    deviations: list[float] = []
    observe = prune_weights._observe

    def watch(model: nn.Module, layer: nn.Conv2d | nn.Linear, samples: Tensor) -> InputMoments:
        def note(norm: nn.Module, args: tuple[Tensor, ...]) -> None:
            spread = args[0].var(dim=(0, 2, 3), unbiased=False)
            deviations.append(float((spread / norm.get_buffer("running_var") - 1.0).abs().max()))

        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        handles = [norm.register_forward_pre_hook(note) for norm in norms]
        with torch.no_grad():
            model(samples)
        for handle in handles:
            handle.remove()
        return observe(model, layer, samples)

    monkeypatch.setattr(prune_weights, "_observe", watch)
    made_by(PruneWeights(amount=0.8, solver="layerwise"), data)

    assert max(deviations) < 0.02


def test_rounds_keep_synaptic_flow_from_emptying_a_layer(data: DataSet) -> None:
    """Tanaka et al. 2020: in one shot synflow starves layers that many rounds leave connected."""
    counts = {}
    for rounds in (1, 50):
        spec = PruneWeights(amount=0.995, criterion="synflow", scope="global", rounds=rounds)
        counts[rounds] = min(int((w != 0).sum()) for w in weights_of(made_by(spec, data).model).values())

    assert counts[50] >= counts[1]
    assert counts[50] > 0


def test_solver_without_data_is_refused() -> None:
    with pytest.raises(PassRefused) as caught:
        made_by(PruneWeights(amount=0.5, solver="layerwise"), None)

    assert caught.value.code == "criterion_needs_data"
