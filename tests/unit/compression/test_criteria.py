"""Criteria against finite differences, autograd's own Hessian and closed forms."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgefleet_compression.context import Context
from edgefleet_compression.criteria import CRITERIA, Scene, score_weights
from edgefleet_compression.data.dataset import DataSet, Split
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.passes.application import apply
from edgefleet_compression.passes.specs import CriterionName, StructuredPrune, WeightedCriterion
from edgefleet_compression.tasks import new_candidate
from edgefleet_compression.testing import tiny_candidate, tiny_data
from edgefleet_compression.training.sparsify import weights_of

N = 24


def vectors(n: int = N) -> DataSet:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    split = Split({"x": x}, (x[:, 0] > 0).astype(np.int64))
    return DataSet("vectors", split, split, split)


def colours() -> DataSet:
    split = Split({"x": np.zeros((4, 3, 32, 32), np.float32)}, np.arange(4))
    return DataSet("colours", split, split, split)


def scene_of(model: nn.Module, data: DataSet | None) -> Scene:
    return Scene(model, torch.zeros(1, 3), data, torch.Generator().manual_seed(0))


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def mean_loss(model: nn.Module, data: DataSet) -> Tensor:
    assert data.train.y is not None
    return F.cross_entropy(model(torch.from_numpy(data.train.x)), torch.from_numpy(data.train.y))


def test_snip_is_the_slope_of_the_loss_when_a_weight_fades(network: nn.Sequential) -> None:
    data = vectors()
    score = CRITERIA["snip"](weights_of(network), scene_of(network, data))["0"][1, 2]
    weight = network[0].get_parameter("weight")
    epsilon, original = 1e-2, float(weight.detach()[1, 2])
    losses = []
    for factor in (1 + epsilon, 1 - epsilon):
        with torch.no_grad():
            weight[1, 2] = original * factor
        losses.append(float(mean_loss(network, data).detach()))

    assert float(score) == pytest.approx(abs(losses[0] - losses[1]) / (2 * epsilon), rel=0.01)


def test_taylor_of_one_batch_is_snip(network: nn.Sequential) -> None:
    weights, data = weights_of(network), vectors()

    taylor, snip = (CRITERIA[name](weights, scene_of(network, data)) for name in ("taylor", "snip"))

    for name in weights:
        torch.testing.assert_close(taylor[name], snip[name])


def test_grasp_is_weight_times_hessian_times_gradient() -> None:
    torch.manual_seed(1)
    model, data = nn.Sequential(nn.Linear(3, 2, bias=False)), vectors()
    x, y = torch.from_numpy(data.train.x), torch.from_numpy(data.train.y)
    weight = model[0].get_parameter("weight").detach()

    def loss_of(flat: Tensor) -> Tensor:
        return F.cross_entropy(x @ flat.view(2, 3).T, y)

    gradient = torch.autograd.functional.jacobian(loss_of, weight.flatten())  # type: ignore[no-untyped-call]
    hessian = torch.autograd.functional.hessian(loss_of, weight.flatten())  # type: ignore[no-untyped-call]

    score = CRITERIA["grasp"](weights_of(model), scene_of(model, data))["0"]
    torch.testing.assert_close(score.flatten(), weight.flatten() * (hessian @ gradient), atol=1e-7, rtol=1e-4)


def test_obd_is_half_the_squared_weight_times_the_mean_squared_gradient() -> None:
    torch.manual_seed(1)
    model, data = nn.Sequential(nn.Linear(3, 2, bias=False)), vectors()
    x, y = torch.from_numpy(data.train.x), torch.from_numpy(data.train.y)
    weight = model[0].get_parameter("weight").detach()
    # softmax regression: the gradient of one sample is (p - onehot) x'
    error = torch.softmax(x @ weight.T, dim=1) - F.one_hot(y, 2)
    squared = (error[:, :, None] * x[:, None, :]).square().mean(dim=0)

    score = CRITERIA["obd"](weights_of(model), scene_of(model, data))["0"]
    torch.testing.assert_close(score, weight.square() * squared / 2)


def test_synaptic_flow_of_two_linear_layers_has_its_closed_form() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    first, second = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.0, -1.0]]), torch.tensor([[2.0, -1.0], [0.0, 4.0]])
    with torch.no_grad():
        model[0].get_parameter("weight").copy_(first)
        model[1].get_parameter("weight").copy_(second)

    scores = CRITERIA["synflow"](weights_of(model), scene_of(model, None))

    torch.testing.assert_close(scores["0"], first.abs() * second.abs().sum(dim=0)[:, None])
    torch.testing.assert_close(scores["1"], second.abs() * first.abs().sum(dim=1))


def test_synaptic_flow_is_conserved_from_layer_to_layer() -> None:
    # Tanaka et al. 2020, theorem 2: without biases every cut of the network carries the same flow
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))
    scene = Scene(model, torch.zeros(1, 1, 8, 8), None, torch.Generator())

    totals = [float(score.sum()) for score in CRITERIA["synflow"](weights_of(model), scene).values()]

    assert totals == pytest.approx([totals[0]] * 3, rel=1e-5)


@pytest.mark.parametrize("bend", [nn.ReLU6, nn.Hardtanh, nn.Tanh, nn.SiLU, nn.Hardswish])
def test_synaptic_flow_passes_nonlinearities_that_would_saturate(bend: type[nn.Module]) -> None:
    """R is the product of the weights (equation 3): a clipped signal of ones would leave the layers before it nothing."""
    model = nn.Sequential(nn.Linear(3, 2), bend(), nn.Linear(2, 2))
    first, second = torch.full((2, 3), 100.0), torch.tensor([[2.0, -1.0], [0.0, 4.0]])
    with torch.no_grad():
        model[0].get_parameter("weight").copy_(first)
        model[2].get_parameter("weight").copy_(second)

    scores = CRITERIA["synflow"](weights_of(model), scene_of(model, None))

    torch.testing.assert_close(scores["0"], first.abs() * second.abs().sum(dim=0)[:, None])
    torch.testing.assert_close(scores["2"], second.abs() * first.abs().sum(dim=1))


@pytest.mark.parametrize("variant", ["b0", "lite0"])
def test_synaptic_flow_reaches_every_layer_of_a_network_of_clipped_units_and_gates(variant: str) -> None:
    model = new_candidate("efficientnet", {"variant": variant}, colours(), seed=0).model
    scene = Scene(model, torch.zeros(1, 3, 32, 32), None, torch.Generator())

    scores = CRITERIA["synflow"](weights_of(model), scene)

    assert all(torch.isfinite(score).all() and float(score.sum()) > 0 for score in scores.values())


def test_a_channel_that_never_fires_scores_zero() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].get_parameter("bias")[2] = -1e3

    for name in ("apoz", "mean_activation"):
        score = CRITERIA[name](weights_of(model), scene_of(model, vectors()))["0"].sum(dim=1)

        assert float(score[2]) == 0.0
        assert (score[[0, 1, 3]] > 0).all()


def test_apoz_is_the_share_of_zeros_behind_the_nonlinearity() -> None:
    model, data = nn.Sequential(nn.Linear(3, 1), nn.ReLU()), vectors()
    with torch.no_grad():
        model[0].get_parameter("weight").copy_(torch.tensor([[1.0, 0.0, 0.0]]))
        model[0].get_parameter("bias").zero_()

    score = CRITERIA["apoz"](weights_of(model), scene_of(model, data))["0"]

    assert float(score.sum()) == pytest.approx(float((data.train.x[:, 0] > 0).mean()))


def test_token_network_has_no_synaptic_flow() -> None:
    model = nn.Sequential(nn.Embedding(5, 2), nn.Linear(2, 2))
    scene = Scene(model, torch.zeros(1, 4, dtype=torch.int64), None, torch.Generator())

    with pytest.raises(PassRefused) as caught:
        CRITERIA["synflow"](weights_of(model), scene)

    assert caught.value.code == "criterion_needs_float_input"


@pytest.mark.parametrize("name", ["taylor", "snip", "grasp", "obd", "apoz", "mean_activation"])
def test_a_criterion_without_its_data_is_refused(name: CriterionName, network: nn.Sequential) -> None:
    with pytest.raises(PassRefused) as caught:
        CRITERIA[name](weights_of(network), scene_of(network, None))

    assert caught.value.code == "criterion_needs_data"


def test_scoring_leaves_the_network_as_it_was(network: nn.Sequential) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()

    for criterion in CRITERIA.values():
        scores = criterion(weights_of(network), scene_of(network, vectors()))
        assert all(torch.isfinite(score).all() for score in scores.values())

    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_several_criteria_add_up_with_their_weights(network: nn.Sequential) -> None:
    weights, data = weights_of(network), vectors()
    parts = (
        WeightedCriterion(criterion="magnitude_l1", weight=3.0),
        WeightedCriterion(criterion="magnitude_l2", weight=0.5),
    )

    total = score_weights(weights, parts, scene_of(network, data))

    def scaled(power: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        values = {name: power(weight.detach()) for name, weight in weights.items()}
        mean = torch.cat([value.flatten() for value in values.values()]).mean()
        return {name: value / mean for name, value in values.items()}

    for name in weights:
        expected = 3.0 * scaled(torch.abs)[name] + 0.5 * scaled(torch.square)[name]
        torch.testing.assert_close(total[name], expected)


@pytest.mark.parametrize("name", sorted(CRITERIA))
def test_every_criterion_prunes_channels(name: CriterionName) -> None:
    candidate = tiny_candidate()

    made = apply(StructuredPrune(amount=0.5, criterion=name), candidate, Context(tiny_data(n_samples=60), seed=0))

    record = made.history[-1]
    assert record.after.n_parameters < 0.5 * record.before.n_parameters
