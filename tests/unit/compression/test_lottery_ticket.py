"""Lottery tickets: exact sparsity, and what each way of going back really goes back to."""

import pytest
import torch

from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.context import Context
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.errors import DataInvalid
from edgefleet_compression.passes.application import apply
from edgefleet_compression.passes.lottery_ticket import draw_network
from edgefleet_compression.passes.specs import Budget, LotteryTicket, Optimizer
from edgefleet_compression.structure import InputSpec, Structure, TaskSpec
from edgefleet_compression.testing import tiny_candidate, tiny_data
from edgefleet_compression.training.sparsify import weights_of


@pytest.fixture(scope="module")
def data() -> DataSet:
    return tiny_data(n_samples=80)


def ticket(data: DataSet | None, rewind: str, *, rewind_fraction: float = 0.0, lr: float = 0.05) -> TorchCandidate:
    spec = LotteryTicket.model_validate(
        {
            "amount": 0.75,
            "rounds": 2,
            "budget": Budget(steps=4),
            "rewind": rewind,
            "rewind_fraction": rewind_fraction,
            "optimizer": Optimizer(lr=lr, weight_decay=0.0),
        }
    )
    made = apply(spec, tiny_candidate(), Context(data, seed=5))
    assert isinstance(made, TorchCandidate)
    return made


@pytest.mark.parametrize("rewind", ["weights", "learning_rate", "reinitialize"])
def test_ticket_has_exactly_the_asked_zeros(rewind: str, data: DataSet) -> None:
    record = ticket(data, rewind).history[-1]

    assert record.after.sparsity == pytest.approx(0.75, abs=1e-4)
    assert record.cost.steps == 3 * 4


def test_drawn_weights_repeat_with_their_seed() -> None:
    structure = tiny_candidate().structure
    first, again, other = (draw_network(structure, seed=seed).state_dict() for seed in (3, 3, 4))

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["stem.weight"], other["stem.weight"])


def test_with_hardly_any_learning_the_ticket_is_the_drawn_weights_where_kept(data: DataSet) -> None:
    """A learning rate near zero leaves what was gone back to, so the kept weights tell where they come from."""
    structure = tiny_candidate().structure
    for rewind, seed in (("weights", 5), ("reinitialize", 6)):
        drawn = weights_of(draw_network(structure, seed=seed))
        for name, weight in weights_of(ticket(data, rewind, lr=1e-9).model).items():
            kept = weight != 0
            torch.testing.assert_close(weight[kept], drawn[name][kept], atol=1e-6, rtol=0.0)


def test_control_has_the_zeros_of_the_ticket_that_it_is_compared_with(data: DataSet) -> None:
    """Frankle & Carbin 2019, section 2: the mask of the winning ticket, its weights drawn once more."""
    found, control = (weights_of(ticket(data, rewind, lr=0.05).model) for rewind in ("weights", "reinitialize"))

    assert all(torch.equal(weight == 0, control[name] == 0) for name, weight in found.items())


def test_rewinding_to_a_later_step_is_not_rewinding_to_the_start(data: DataSet) -> None:
    start, later = (ticket(data, "weights", rewind_fraction=fraction).model for fraction in (0.0, 0.75))

    assert not torch.equal(weights_of(start)["head"], weights_of(later)["head"])


def test_ticket_without_labels_is_refused() -> None:
    with pytest.raises(DataInvalid):
        ticket(None, "weights")


def test_every_parameter_of_a_drawn_encoder_is_drawn() -> None:
    """Position tables are parameters of no layer of their own."""
    arguments = {
        "vocabulary": 32,
        "length": 8,
        "width": 16,
        "n_layers": 1,
        "n_heads": 2,
        "feed_forward": 32,
        "n_classes": 2,
    }
    structure = Structure(
        architecture="transformer",
        arguments=arguments,
        input=InputSpec(name="tokens", shape=(8,), dtype="int64", n_values=32),
        task=TaskSpec(n_classes=2),
    )
    first, again = (draw_network(structure, seed=3).state_dict() for _ in range(2))

    assert all(torch.equal(first[name], again[name]) and torch.isfinite(first[name]).all() for name in first)
