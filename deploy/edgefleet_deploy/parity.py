"""Comparing an artifact's outputs with those of what it was compiled from. Pure numpy."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgefleet_deploy.errors import ParityFailed
from edgefleet_deploy.manifest import OutputParity, ParityReport, ParityTolerance

Array = NDArray[Any]
SampleSource = Literal["validation", "train", "random"]

FP32_TOLERANCE = ParityTolerance(
    max_diff_ratio=1e-4, max_diff_steps=None, min_snr_db=None, min_top1_agreement_clear=None
)
"""A float file computes the same sums in another order: 1e-4 of the output's range is far above what that gives."""

FP16_TOLERANCE = ParityTolerance(
    max_diff_ratio=2e-2, max_diff_steps=None, min_snr_db=35.0, min_top1_agreement_clear=None
)
"""float16 has 11 significant bits, about 66 dB for one rounding; networks of 2 to 50 layers were seen at 62 to 77 dB."""

INT8_TOLERANCE = ParityTolerance(
    max_diff_ratio=None, max_diff_steps=16.0, min_snr_db=25.0, min_top1_agreement_clear=0.98
)
"""An integer file rounds where the simulation does, but a value on the edge between two integers may fall either way
(and the int32 bias is rounded), and the difference travels on through the layers. A wrong scale, zero point or weight
costs far more: 25 dB is 6 % of the signal. Trained networks were seen within 1.1 steps and above 59 dB."""

INT4_TOLERANCE = ParityTolerance(
    max_diff_ratio=None, max_diff_steps=None, min_snr_db=15.0, min_top1_agreement_clear=0.95
)
"""Activations of 4 bits have 16 values: one that lies on the edge and falls the other way moves by 7 % of its range, and
takes others along. 15 dB is 18 % of the signal; a wrong scale or zero point gives less than 5 dB."""

DYNAMIC_TOLERANCE = ParityTolerance(
    max_diff_ratio=None, max_diff_steps=None, min_snr_db=15.0, min_top1_agreement_clear=0.95
)
"""Activations quantized while running cannot be simulated to the bit: the reference is the network with rounded weights, and
what 8-bit activations cost stands between. A network with random weights was seen at 22 dB, others above 38 dB, and a
runtime that takes wrong scales below 1 dB."""

CLEAR_MARGIN_STEPS = 4.0
"""Two entries of an output closer than this many steps are a tie as far as 8 bits can tell."""


def check_parity(
    reference: Mapping[str, Array],
    artifact: Mapping[str, Array],
    *,
    tolerance: ParityTolerance,
    reference_name: str,
    samples: SampleSource,
) -> ParityReport:
    """Return the figures of every output, or raise ParityFailed with them.

    Both mappings: output name -> (n, ...), same samples in the same order. NaN and infinity are looked for first,
    because a comparison with NaN is false and would let everything pass.
    """
    _require_same_outputs(reference, artifact)
    for name in reference:
        _require_finite(name, reference[name], artifact[name])
    report = ParityReport(
        reference=reference_name,
        samples=samples,
        n_samples=len(next(iter(reference.values()))),
        outputs=tuple(compare_output(name, reference[name], artifact[name]) for name in reference),
        tolerance=tolerance,
    )
    broken = [text for output in report.outputs for text in broken_bounds(output, tolerance)]
    if broken:
        raise ParityFailed(
            "the artifact does not compute what the candidate computes: {}. The file is not shipped; compile the "
            "baseline recipe to see whether the model or its quantization is the cause".format("; ".join(broken)),
            detail=report.model_dump(mode="json"),
        )
    return report


def _require_same_outputs(reference: Mapping[str, Array], artifact: Mapping[str, Array]) -> None:
    expected = {name: value.shape for name, value in reference.items()}
    found = {name: value.shape for name, value in artifact.items()}
    if expected != found:
        raise ParityFailed(
            f"the artifact has outputs {found}, the candidate {expected}",
            detail={"expected": {name: list(shape) for name, shape in expected.items()}},
        )


def _require_finite(name: str, reference: Array, artifact: Array) -> None:
    for role, values in (("candidate", reference), ("artifact", artifact)):
        n_bad = int(values.size - np.count_nonzero(np.isfinite(values)))
        if n_bad:
            raise ParityFailed(
                f"output {name!r} of the {role} has {n_bad} of {values.size} values that are NaN or infinite: look for a "
                f"layer that overflows on ordinary samples; where there is no data set the samples are random: give real ones",
                detail={"output": name, "where": role, "n_non_finite": n_bad, "n_values": int(values.size)},
            )


def compare_output(name: str, reference: Array, artifact: Array) -> OutputParity:
    """Return how far two arrays of shape (n, ...) are apart; both must be finite."""
    wanted, found = reference.astype(np.float64), artifact.astype(np.float64)
    difference = found - wanted
    output_range = float(np.ptp(wanted)) or float(np.max(np.abs(wanted), initial=0.0))
    max_abs = float(np.max(np.abs(difference), initial=0.0))
    ratio = max_abs / output_range if output_range > 0 else max_abs
    agreement, agreement_clear, n_clear = _top1(wanted, found, CLEAR_MARGIN_STEPS * output_range / 255.0)
    return OutputParity(
        name=name,
        output_range=output_range,
        max_abs_diff=max_abs,
        max_diff_ratio=ratio,
        max_diff_steps=ratio * 255.0,
        snr_db=snr_db(wanted, difference),
        top1_agreement=agreement,
        top1_agreement_clear=agreement_clear,
        n_clear=n_clear,
    )


def snr_db(signal: Array, difference: Array) -> float | None:
    """Return 10 log10(sum signal^2 / sum difference^2) in dB; None when there is no difference at all.

    A silent signal (all zero) with a difference has no finite ratio; it gives -300 dB, below any bound.
    """
    noise = float(np.sum(np.square(difference)))
    power = float(np.sum(np.square(signal)))
    if noise == 0.0:
        return None
    return 10.0 * float(np.log10(power / noise)) if power > 0.0 else -300.0


def _top1(wanted: Array, found: Array, clear_margin: float) -> tuple[float | None, float | None, int]:
    if wanted.ndim != 2 or wanted.shape[1] < 2:
        return None, None, 0
    same = wanted.argmax(axis=1) == found.argmax(axis=1)
    two_largest = np.sort(wanted, axis=1)[:, -2:]
    clear = (two_largest[:, 1] - two_largest[:, 0]) > clear_margin
    n_clear = int(np.count_nonzero(clear))
    return float(same.mean()), float(same[clear].mean()) if n_clear else None, n_clear


def broken_bounds(output: OutputParity, tolerance: ParityTolerance) -> list[str]:
    """Return one sentence per bound that an output breaks."""
    found: list[str] = []
    for field, bound in (
        ("max_diff_ratio", tolerance.max_diff_ratio),
        ("max_diff_steps", tolerance.max_diff_steps),
    ):
        value = getattr(output, field)
        if bound is not None and not value <= bound:
            found.append(f"output {output.name!r}: {field} {value:.3g} above {bound:g}")
    for field, floor, value in (
        ("snr_db", tolerance.min_snr_db, output.snr_db),
        ("top1_agreement_clear", tolerance.min_top1_agreement_clear, output.top1_agreement_clear),
    ):
        if floor is not None and value is not None and not value >= floor:
            found.append(f"output {output.name!r}: {field} {value:.3g} below {floor:g}")
    return found
