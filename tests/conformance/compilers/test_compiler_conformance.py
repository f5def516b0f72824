"""What every compiler must do. A new compiler adds its target to TARGETS; a new kind of candidate its maker to FORMS.

Each accepted pair of target and candidate is compiled once for all tests that only look at the result.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgefleet_compression.candidate import Candidate, Traits
from edgefleet_deploy import edgetpu_tool
from edgefleet_deploy.compiler import CompileContext, CompiledFile, Compiler, compiler_for
from edgefleet_deploy.errors import CandidateRefused, CompilerUnavailable, DeployError
from edgefleet_deploy.parity import snr_db
from edgefleet_deploy.samples import random_samples
from edgefleet_deploy.targets import TARGETS, Target

MakeContext = Callable[[], CompileContext]
Pair = tuple[str, str]


@pytest.fixture(scope="module")
def target(pair: Pair) -> Target:
    return TARGETS[pair[0]]


@pytest.fixture(scope="module")
def candidate(pair: Pair, forms: Mapping[str, Callable[[], Candidate]]) -> Candidate:
    return forms[pair[1]]()


@pytest.fixture(scope="module")
def compiler(target: Target) -> Compiler:
    return compiler_for(target)


@pytest.fixture(scope="module")
def make_context(target: Target, tmp_path_factory: pytest.TempPathFactory) -> MakeContext:
    def make() -> CompileContext:
        folder = tmp_path_factory.mktemp("compile")
        return CompileContext(target=target, work_dir=folder, data=None, seed=0, threads=1)

    return make


@pytest.fixture
def context(make_context: MakeContext) -> CompileContext:
    return make_context()


@pytest.fixture(scope="module")
def compiled(compiler: Compiler, candidate: Candidate, make_context: MakeContext) -> CompiledFile:
    """The candidate's file. Skipped with the reason where the tool that writes it is not installed, and where a look at
    the network, not its traits, shows that the format would gain nothing.
    """
    if compiler.runtime == "edgetpu" and shutil.which(edgetpu_tool.TOOL) is None:
        pytest.skip(edgetpu_tool.INSTALL_HINT)  # before the conversion that comes before it, which takes ten seconds
    try:
        return compiler.compile(candidate, make_context())
    except CompilerUnavailable as err:
        pytest.skip(err.message)
    except CandidateRefused as err:
        if err.code != "dynamic_does_not_help":
            raise
        pytest.skip(err.message)


class TestCompilerConformance:
    def test_traits_are_the_candidates(
        self, pair: Pair, candidate: Candidate, known_traits: Mapping[str, Traits]
    ) -> None:
        assert candidate.traits == known_traits[pair[1]]

    def test_accepted_candidate_compiles_and_runs(self, compiler: Compiler, compiled: CompiledFile) -> None:
        inputs = random_samples(compiled.inputs, n_samples=3, seed=5).inputs
        payload = compiled.payload if compiled.host_payload is None else compiled.host_payload
        outputs = compiler.open(payload, threads=1).run(inputs)

        assert list(outputs) == [spec.name for spec in compiled.outputs]
        assert all(len(values) == 3 and np.isfinite(values).all() for values in outputs.values())

    def test_precision_is_the_candidates(self, candidate: Candidate, compiled: CompiledFile) -> None:
        assert compiled.precision == candidate.traits.precision

    def test_same_candidate_gives_the_same_bytes(
        self, compiler: Compiler, candidate: Candidate, compiled: CompiledFile, context: CompileContext
    ) -> None:
        assert compiler.compile(candidate, context).payload == compiled.payload

    def test_parity_is_stated_with_its_tolerance(self, compiled: CompiledFile) -> None:
        parity = compiled.parity

        assert parity.n_samples > 0
        assert [output.name for output in parity.outputs]
        assert any(bound is not None for bound in parity.tolerance.model_dump().values())

    def test_golden_outputs_are_what_the_file_gives_on_this_host(
        self, compiler: Compiler, compiled: CompiledFile
    ) -> None:
        """In the file's own names, order and layout, so that a device can feed them as they are."""
        golden = compiled.golden
        assert golden is not None
        assert 1 <= golden.n_samples <= 8
        assert list(golden.reference) == [spec.name for spec in compiled.outputs]
        payload = compiled.payload if compiled.host_payload is None else compiled.host_payload
        found = compiler.open(payload, threads=1).run(golden.inputs)
        for name, wanted in golden.reference.items():
            difference = found[name].astype(np.float64) - wanted
            assert snr_db(wanted.astype(np.float64), difference) == pytest.approx(golden.host_snr_db[name], abs=0.01)

    def test_input_names_are_the_candidates(self, compiled: CompiledFile) -> None:
        assert [spec.name for spec in compiled.inputs] == ["image"]

    def test_random_calibration_is_noted(self, candidate: Candidate, compiled: CompiledFile) -> None:
        assert ("calibration_random" in compiled.notes) == (candidate.traits.precision == "int8")

    def test_nan_weights_are_a_coded_refusal(
        self, compiler: Compiler, broken_candidate: Candidate, compiled: CompiledFile, context: CompileContext
    ) -> None:
        if compiler.refuse(broken_candidate.traits, context.target) is not None:
            pytest.skip("the broken candidate is a torch network, which this target does not take")
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


def test_refused_candidate_fails_with_its_reason_before_any_work(
    refused_pair: Pair, forms: Mapping[str, Callable[[], Candidate]]
) -> None:
    target, candidate = TARGETS[refused_pair[0]], forms[refused_pair[1]]()
    compiler = compiler_for(target)
    reason = compiler.refuse(candidate.traits, target)
    nowhere = CompileContext(target=target, work_dir=Path("not-there"), data=None, seed=0, threads=1)

    with pytest.raises(CandidateRefused) as caught:
        compiler.compile(candidate, nowhere)

    assert caught.value.message == reason
