"""What every compiler must do. A new compiler adds its target to TARGETS; a new kind of candidate its maker to FORMS."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgefleet_compression.candidate import Candidate
from edgefleet_deploy.compiler import CompileContext, Compiler, compiler_for
from edgefleet_deploy.errors import DeployError
from edgefleet_deploy.samples import random_samples
from edgefleet_deploy.targets import TARGETS, Target


@pytest.fixture(params=sorted(TARGETS))
def target(request: pytest.FixtureRequest) -> Target:
    return TARGETS[request.param]


@pytest.fixture
def compiler(target: Target) -> Compiler:
    return compiler_for(target)


@pytest.fixture
def context(target: Target, tmp_path: Path) -> CompileContext:
    return CompileContext(target=target, work_dir=tmp_path, data=None, seed=0, threads=1)


class TestCompilerConformance:
    def test_accepted_candidate_compiles_and_runs(
        self, compiler: Compiler, candidate: Candidate, context: CompileContext
    ) -> None:
        assert compiler.refuse(candidate.traits, context.target) is None

        compiled = compiler.compile(candidate, context)
        inputs = random_samples(compiled.inputs, n_samples=3, seed=5).inputs
        outputs = compiler.open(compiled.payload, threads=1).run(inputs)

        assert list(outputs) == [spec.name for spec in compiled.outputs]
        assert all(len(values) == 3 and np.isfinite(values).all() for values in outputs.values())

    def test_precision_is_the_candidates(
        self, compiler: Compiler, candidate: Candidate, context: CompileContext
    ) -> None:
        assert compiler.compile(candidate, context).precision == candidate.traits.precision

    def test_same_candidate_gives_the_same_bytes(
        self, compiler: Compiler, candidate: Candidate, context: CompileContext
    ) -> None:
        assert compiler.compile(candidate, context).payload == compiler.compile(candidate, context).payload

    def test_parity_is_stated_with_its_tolerance(
        self, compiler: Compiler, candidate: Candidate, context: CompileContext
    ) -> None:
        parity = compiler.compile(candidate, context).parity

        assert parity.n_samples > 0
        assert [output.name for output in parity.outputs]
        assert any(bound is not None for bound in parity.tolerance.model_dump().values())

    def test_input_names_are_the_candidates(
        self, compiler: Compiler, candidate: Candidate, context: CompileContext
    ) -> None:
        assert [spec.name for spec in compiler.compile(candidate, context).inputs] == ["image"]

    def test_random_calibration_is_noted(
        self, compiler: Compiler, candidate: Candidate, context: CompileContext
    ) -> None:
        notes = compiler.compile(candidate, context).notes

        assert ("calibration_random" in notes) == (candidate.traits.precision == "int8")

    def test_nan_weights_are_a_coded_refusal(
        self, compiler: Compiler, broken_candidate: Candidate, context: CompileContext
    ) -> None:
        with pytest.raises(DeployError) as caught:
            compiler.compile(broken_candidate, context)

        assert caught.value.code == "non_finite_weights"

    def test_another_format_is_refused_before_any_work(
        self, compiler: Compiler, candidate: Candidate, context: CompileContext
    ) -> None:
        other = replace(context.target, file_format="punched-cards")

        assert compiler.refuse(candidate.traits, other) is not None
        with pytest.raises(DeployError):
            compiler.compile(candidate, replace(context, target=other))
