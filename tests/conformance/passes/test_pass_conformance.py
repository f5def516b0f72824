"""What every pass on a torch candidate promises; a new pass adds one class with its specs, not new tests."""

import copy
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from pydantic import TypeAdapter

from edgefleet_compression.candidate import OnnxCandidate, TorchCandidate, load_candidate, save_candidate
from edgefleet_compression.context import Context
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.passes.application import apply
from edgefleet_compression.passes.specs import (
    AnyPass,
    Budget,
    Cast,
    Distill,
    FakeQuant,
    LotteryTicket,
    LowRank,
    PlateauPace,
    PruneWeights,
    Quantize,
    RemoveBlocks,
    Sparsify,
    StructuredPrune,
    Student,
    Synthesis,
    Train,
)
from edgefleet_compression.records import StepRecord
from edgefleet_compression.stats import count_stats
from edgefleet_compression.testing import tiny_candidate, tiny_data, tiny_onnx

_ANY_PASS: TypeAdapter[AnyPass] = TypeAdapter(AnyPass)


@pytest.fixture(scope="module")
def data() -> DataSet:
    torch.set_num_threads(1)
    return tiny_data(n_samples=120)


class PassConformance:
    """The promises; ``specs`` are the variants of one kind of pass."""

    specs: ClassVar[dict[str, AnyPass]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "spec" in metafunc.fixturenames:
            metafunc.parametrize("spec", self.specs.values(), ids=list(self.specs))

    @staticmethod
    def run(
        spec: AnyPass, candidate: TorchCandidate, data: DataSet, *, events: list[float] | None = None
    ) -> TorchCandidate:
        def emit(fraction: float, message: str, **detail: Any) -> None:
            if events is not None:
                events.append(fraction)

        made = apply(spec, candidate, Context(data, seed=11, reference=candidate, emit=emit))
        assert isinstance(made, TorchCandidate)
        return made

    def test_spec_survives_json(self, spec: AnyPass) -> None:
        assert _ANY_PASS.validate_json(_ANY_PASS.dump_json(spec)) == spec

    def test_candidate_given_is_left_as_it_is(self, spec: AnyPass, data: DataSet) -> None:
        candidate = tiny_candidate()
        before = copy.deepcopy(candidate.model.state_dict())
        structure = candidate.structure.model_copy(deep=True)
        self.run(spec, candidate, data)
        assert candidate.structure == structure
        assert all(torch.equal(before[name], tensor) for name, tensor in candidate.model.state_dict().items())

    def test_one_record_is_added_with_true_counts(self, spec: AnyPass, data: DataSet) -> None:
        candidate = tiny_candidate()
        made = self.run(spec, candidate, data)
        assert len(made.history) == len(candidate.history) + 1
        record = made.history[-1]
        assert (record.spec, record.seed) == (spec, 11)
        assert record.cost.wall_s is not None
        assert record.before == count_stats(candidate.model, (1, 8, 8))
        assert record.after == count_stats(made.model, (1, 8, 8))

    def test_record_survives_json(self, spec: AnyPass, data: DataSet) -> None:
        record = self.run(spec, tiny_candidate(), data).history[-1]
        assert StepRecord.model_validate_json(record.model_dump_json()) == record

    def test_network_never_grows(self, spec: AnyPass, data: DataSet) -> None:
        record = self.run(spec, tiny_candidate(), data).history[-1]
        assert record.after.n_parameters <= record.before.n_parameters
        assert record.after.macs is not None
        assert record.before.macs is not None
        assert record.after.macs <= record.before.macs

    def test_same_seed_gives_the_same_file_and_the_file_the_same_network(
        self, spec: AnyPass, data: DataSet, tmp_path: Path
    ) -> None:
        first, second = (
            save_candidate(self.run(spec, tiny_candidate(), data), tmp_path / f"{name}.safetensors") for name in "ab"
        )
        assert first.read_bytes() == second.read_bytes()
        made, restored = self.run(spec, tiny_candidate(), data), load_candidate(first)
        assert isinstance(restored, TorchCandidate)
        x = torch.from_numpy(data.test.x)
        assert torch.equal(made.model(x), restored.model(x))

    def test_result_is_ready_for_use(self, spec: AnyPass, data: DataSet) -> None:
        made = self.run(spec, tiny_candidate(), data)
        assert not made.model.training
        assert torch.isfinite(made.model(torch.from_numpy(data.test.x))).all()

    def test_progress_never_runs_backwards(self, spec: AnyPass, data: DataSet) -> None:
        events: list[float] = []
        self.run(spec, tiny_candidate(), data, events=events)
        assert events == sorted(events)
        assert all(0.0 <= fraction <= 1.0 for fraction in events)

    def test_onnx_graph_is_handled_or_refused_with_a_code(self, spec: AnyPass, data: DataSet) -> None:
        candidate = OnnxCandidate(tiny_onnx())
        if isinstance(spec, Cast) or (isinstance(spec, Quantize) and not spec.needs_torch):
            traits = apply(spec, candidate, Context(data, seed=0)).traits
            assert traits.has_plan
            assert traits.precision == apply(spec, tiny_candidate(), Context(data, seed=0)).traits.precision
            return
        with pytest.raises(PassRefused) as caught:
            apply(spec, candidate, Context(data, seed=0))
        assert caught.value.code == "needs_torch_model"


class TestStructuredPrune(PassConformance):
    specs: ClassVar[dict[str, AnyPass]] = {
        "layer": StructuredPrune(amount=0.5),
        "global": StructuredPrune(amount=0.3, scope="global", round_to=1, criterion="magnitude_l1"),
        "random": StructuredPrune(amount=0.25, round_to=4, criterion="random"),
    }


class TestRemoveBlocks(PassConformance):
    specs: ClassVar[dict[str, AnyPass]] = {
        "influence": RemoveBlocks(n_blocks=1, n_samples=32),
        "projection": RemoveBlocks(share=0.5, shortcuts="any", criterion="loss", n_samples=32),
    }


class TestPruneWeights(PassConformance):
    specs: ClassVar[dict[str, AnyPass]] = {
        "magnitude": PruneWeights(amount=0.5),
        "layerwise": PruneWeights(amount=0.5, structure="2:4", solver="layerwise", n_samples=64),
        "rounds": PruneWeights(amount=0.8, criterion="synflow", scope="global", rounds=5),
    }


class TestLotteryTicket(PassConformance):
    specs: ClassVar[dict[str, AnyPass]] = {
        "rewound": LotteryTicket(amount=0.6, rounds=2, budget=Budget(steps=3), rewind_fraction=0.4),
        "reinitialized": LotteryTicket(amount=0.6, rounds=1, budget=Budget(steps=2), rewind="reinitialize"),
    }


class TestLowRank(PassConformance):
    specs: ClassVar[dict[str, AnyPass]] = {
        "energy": LowRank(energy=0.5),
        "ratio": LowRank(parameters_ratio=0.6, form="channel"),
        "spatial": LowRank(energy=0.6, form="spatial", layers=("conv2d",)),
    }


class TestQuantize(PassConformance):
    specs: ClassVar[dict[str, AnyPass]] = {
        "uint8": Quantize(),
        "int8": Quantize.model_validate({"activations": {"signed": True}, "calibration": {"n_samples": 16}}),
        "dynamic": Quantize.model_validate({"activations": {"mode": "dynamic"}}),
        "int4-weights": Quantize.model_validate({"activations": None, "weights": {"bits": 4}}),
        "int4": Quantize.model_validate(
            {
                "weights": {"bits": 1, "granularity": "tensor"},
                "activations": {"bits": 4, "symmetric": True},
                "calibration": {"observer": "entropy", "n_samples": 16},
            }
        ),
    }


class TestRefinedQuantize(PassConformance):
    specs: ClassVar[dict[str, AnyPass]] = {
        "refined": Quantize.model_validate(
            {
                "rounding": "adaround",
                "rounding_steps": 3,
                "equalize": True,
                "bias_correction": True,
                "calibration": {"n_samples": 16},
                "activations": None,
            }
        ),
        "allocated": Quantize.model_validate(
            {
                "weights": {"bits": 4},
                "activations": None,
                "allocation": {"size_bytes": 13_000, "sensitivity": "hessian"},
            }
        ),
        "hybrid": Quantize.model_validate(
            {
                "weights": {"bits": 4},
                "activations": {"bits": 4},
                "hybrid": {"share": 0.3},
                "rounding": "adaround",
                "rounding_steps": 2,
                "calibration": {"n_samples": 16},
            }
        ),
    }


class TestDataFree(PassConformance):
    specs: ClassVar[dict[str, AnyPass]] = {
        "batchnorm": Quantize.model_validate(
            {"calibration": {"source": "batchnorm", "n_samples": 16, "synthesis_steps": 2, "observer": "percentile"}}
        ),
        "train": Train(
            budget=Budget(steps=2),
            synthesis=Synthesis(source="generator", n_samples=40, steps=4, batch_size=16),
            ingredients=(
                FakeQuant.model_validate({"weights": {"bits": 4}, "activations": None, "start_fraction": 0.0}),
                Distill(teacher="fixed", alpha=1.0),
            ),
        ),
    }


class TestCast(PassConformance):
    specs: ClassVar[dict[str, AnyPass]] = {"fp16": Cast()}


class TestTrain(PassConformance):
    specs: ClassVar[dict[str, AnyPass]] = {
        "plain": Train(budget=Budget(steps=3)),
        "sparsify": Train(budget=Budget(steps=4), ingredients=(Sparsify(amount=0.5, every_steps=1),)),
        "fake-quant": Train(budget=Budget(steps=4), ingredients=(FakeQuant(),)),
        "learned-steps": Train(
            budget=Budget(steps=4),
            ingredients=(
                FakeQuant.model_validate(
                    {
                        "weights": {"bits": 4, "scale": "learned", "granularity": "tensor"},
                        "activations": {"bits": 4, "scale": "learned"},
                        "start_fraction": 0.0,
                    }
                ),
            ),
        ),
        "augmented-parts": Train(budget=Budget(steps=3), augmentation="crop_flip", accumulate=4),
        "early": Train(
            budget=Budget(steps=5),
            ingredients=(
                Sparsify(
                    amount=0.75,
                    criterion="snip",
                    structure="1:4",
                    schedule="one_shot",
                    sensitivity="training",
                    end_fraction=0.5,
                ),
                Distill(teacher="same_class"),
            ),
        ),
        "adaptive": Train(
            budget=Budget(steps=6),
            ingredients=(
                Sparsify(amount=0.5, every_steps=1, schedule="sigmoid", pace=PlateauPace(), criterion="taylor"),
                Distill(teacher="ema", method="dkd", final_temperature=1.0),
            ),
        ),
        "features": Train(
            budget=Budget(steps=4),
            student=Student(width_ratio=0.5),
            ingredients=(Distill(teacher="fixed", method="features"),),
        ),
        "attention-fake-quant": Train(
            budget=Budget(steps=4), ingredients=(FakeQuant(), Distill(teacher="fixed", method="attention"))
        ),
        "student": Train(
            budget=Budget(steps=3), student=Student(width_ratio=0.5), ingredients=(Distill(teacher="fixed"),)
        ),
        "joint": Train(
            budget=Budget(steps=6),
            ingredients=(
                Sparsify(amount=0.5, every_steps=1, end_fraction=0.5, criterion="random"),
                FakeQuant(start_fraction=0.5),
                Distill(teacher="fixed"),
            ),
        ),
    }
