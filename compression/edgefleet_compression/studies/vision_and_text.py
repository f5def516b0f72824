"""Study 5: do the same means serve vision and text?"""

from collections.abc import Iterator
from typing import Any, Final

from edgefleet_compression.passes.specs import AnyPass, Quantize, RemoveBlocks, StructuredPrune
from edgefleet_compression.studies.building import (
    CIFAR,
    DIGITS,
    FULL,
    ONE_SEED,
    RESNET_20,
    SIX_SEEDS,
    SMALL_RESNET,
    Setting,
    arm,
    sensitivity,
)
from edgefleet_compression.studies.claims import Chosen, Claim, Comparison, LevelClaim
from edgefleet_compression.studies.declaration import Arm, StudyData, StudyDeclaration, StudyModel, StudyScale

KEYWORDS: Final = StudyData(
    name="keywords",
    spec={"kind": "generated", "name": "keywords", "n_samples": 3000, "length": 12, "vocabulary": 24},
    shares=(0.55, 0.15, 0.3),
)
SST2: Final = StudyData(name="sst2", spec=None)
MODELS: Final = (
    SMALL_RESNET,
    StudyModel(
        name="convnet",
        architecture="convnet",
        arguments={"widths": [16, 32, 64, 96]},
        data=DIGITS.name,
        epochs=12,
    ),
    StudyModel(
        name="transformer",
        architecture="transformer",
        arguments={"width": 64, "n_layers": 2, "n_heads": 4, "feed_forward": 256},
        data=KEYWORDS.name,
        epochs=12,
    ),
)
FULL_MODELS: Final = (
    RESNET_20,
    StudyModel(name="convnet", architecture="mobilenet-v2-cifar", data=CIFAR.name, epochs=120),
    StudyModel(
        name="transformer",
        architecture="bert-mini",
        arguments={"length": 40, "vocabulary": 30522},
        data=SST2.name,
        epochs=8,
    ),
)
AMOUNTS: Final = {"resnet": 0.3, "convnet": 0.3, "transformer": 0.6}
"""Shares of channels, neurons and heads with which files come out six times smaller; tried out on sizes alone."""


def _rounded(model: str) -> Quantize:
    """Return 8-bit numbers; the arithmetic of the transformer stays float, as its normalisations want."""
    return Quantize(activations=None) if model == "transformer" else Quantize()


def _uniform(model: str) -> StructuredPrune:
    return StructuredPrune(amount=AMOUNTS[model], round_to=1)


def _arms(vision: Setting, text: Setting, seeds: tuple[int, ...], few: tuple[int, ...]) -> Iterator[Arm]:
    """Yield, for every model, the policy for all and those of its own domain; all end with 8-bit weights."""
    for model in ("resnet", "convnet", "transformer"):
        setting = text if model == "transformer" else vision
        rounded = _rounded(model)
        own: dict[str, Any] = {"model": model, "seeds": seeds, "factors": {"domain": _domain(model)}}
        yield arm(f"{model}-uniform", _uniform(model), setting.train(), rounded, family=model, **own)
        for name, spec in _own_policies(model):
            yield arm(f"{model}-{name}", spec, setting.train(), rounded, family=model, **own)
        yield arm(f"{model}-rounded", rounded, role="ablation", family=model, **{**own, "seeds": few})
    text_arm = (_uniform("transformer"), text.train(), _rounded("transformer"))
    base = arm("transformer-uniform", *text_arm, model="transformer")
    yield from sensitivity(base, few)


def _domain(model: str) -> str:
    return "text" if model == "transformer" else "vision"


def _own_policies(model: str) -> Iterator[tuple[str, AnyPass]]:
    if model == "transformer":
        yield "attention", StructuredPrune(amount=0.75, round_to=1, structures=("heads",))
        yield "feed-forward", StructuredPrune(amount=0.9, round_to=1, structures=("feed_forward",))
    else:
        yield "global", StructuredPrune(amount=AMOUNTS[model], round_to=1, scope="global")
    if model == "resnet":
        yield "shallower", RemoveBlocks(n_blocks=1, shortcuts="any")


def _claims() -> tuple[Claim, ...]:
    """Return the claims: one policy, kept in every domain, at the ratio that was asked for."""
    kept = tuple(
        LevelClaim(
            name=f"{_domain(model)}: {model} keeps",
            arm=Chosen(arms=(f"{model}-uniform",)),
            metric="f1_retention" if model == "transformer" else "retention",
            supported_from=0.90,
            falsified_below=0.85,
        )
        for model in ("resnet", "convnet", "transformer")
    )
    reached = tuple(
        LevelClaim(
            name=f"{_domain(model)}: {model} is at six times fewer bytes",
            arm=Chosen(arms=(f"{model}-uniform",)),
            metric="size_ratio",
            supported_from=6.0,
            falsified_below=0.0,
        )
        for model in ("resnet", "convnet", "transformer")
    )
    return (*kept, *reached)


COMPARISONS: Final = (
    Comparison(family="one policy against the domain's own", a="resnet-uniform", b="resnet-global"),
    Comparison(family="one policy against the domain's own", a="resnet-uniform", b="resnet-shallower"),
    Comparison(family="one policy against the domain's own", a="convnet-uniform", b="convnet-global"),
    Comparison(family="one policy against the domain's own", a="transformer-uniform", b="transformer-attention"),
    Comparison(family="one policy against the domain's own", a="transformer-uniform", b="transformer-feed-forward"),
)

STUDY: Final = StudyDeclaration(
    name="vision-and-text",
    number=5,
    title="Vision and text",
    question="Does one compression policy, carried from convolutional networks to transformers unchanged, keep the accuracy in both?",
    hypothesis="At six times fewer bytes no domain loses more than 10 %.",
    falsified_if="one of them loses more than 15 %",
    analysis=(
        "One policy (the same share of every group of channels, neurons and heads, then training, then 8-bit weights) on every "
        "model; the share is what makes its file six times smaller. The claim holds if it holds for each of them.",
        "Domain metrics: accuracy in vision, macro F1 in text; retention is over the same network uncompressed.",
        "That files are six times smaller is a claim of its own: without it the verdict is undecided.",
    ),
    left_out=(
        "COCO, SQuAD, WMT, T5: edgefleet compresses classifiers; boxes, spans and generated text are refused.",
        "Multi-task networks: the zoo has none.",
        "BERT and DistilBERT weights come with no Python package; the full scale trains BERT-mini's shape.",
    ),
    scales=(
        StudyScale(
            name="small",
            data=(DIGITS, KEYWORDS),
            models=MODELS,
            arms=tuple(_arms(Setting(epochs=6), Setting(epochs=6, lr=1e-3, optimizer="adamw"), SIX_SEEDS, ONE_SEED)),
            seeds=SIX_SEEDS,
            claims=_claims(),
            comparisons=COMPARISONS,
            expected="about 6 minutes of one CPU core",
            differences=(
                "Noisy digits for images; for text a generated task (in which order keywords occur), which is no natural language.",
            ),
        ),
        StudyScale(
            name="full",
            data=(CIFAR, SST2),
            models=FULL_MODELS,
            arms=tuple(_arms(FULL, Setting(epochs=4, lr=2e-4, optimizer="adamw", batch_size=32), SIX_SEEDS, SIX_SEEDS)),
            seeds=SIX_SEEDS,
            claims=_claims(),
            comparisons=COMPARISONS,
            expected="about 30 GPU hours (estimated: 90 units, 20 minutes each)",
            differences=("CIFAR-10 and SST-2 instead of the eight data sets that were named.",),
        ),
    ),
)
