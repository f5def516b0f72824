"""BLEU of texts, by sacrebleu (the extra ``text``).

Networks here generate no text, so no job reports it: it is for texts that a person's own model produced, before and after
compression.
"""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from edgefleet_compression.errors import DataInvalid, RequestInvalid


class BleuScore(BaseModel):
    """A corpus score that others can repeat."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    score: float = Field(description="0 to 100, over the whole corpus (Papineni et al. 2002).")
    signature: str = Field(description="sacrebleu's account of tokenizer, smoothing and version (Post 2018).")


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> BleuScore:
    """Return the BLEU of n texts against one or more sets of n references each, detokenized.

    Raises DataInvalid ``data_length_mismatch`` or ``data_empty``, RequestInvalid ``package_missing`` without sacrebleu.
    """
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise RequestInvalid(
            "BLEU needs the package sacrebleu: pip install 'edgefleet[text]'.", code="package_missing"
        ) from error
    if not hypotheses or not references:
        raise DataInvalid("BLEU needs at least one text and one set of references.", code="data_empty")
    if any(len(one) != len(hypotheses) for one in references):
        raise DataInvalid(
            f"Every set of references needs {len(hypotheses)} texts, there are {[len(one) for one in references]}.",
            code="data_length_mismatch",
        )
    metric = BLEU()
    found = metric.corpus_score(list(hypotheses), [list(one) for one in references])
    return BleuScore(score=float(found.score), signature=str(metric.get_signature()))
