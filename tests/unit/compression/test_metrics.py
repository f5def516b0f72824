"""Metrics of classes and of texts, and which ones a request may name."""

import sys

import numpy as np
import pytest

from edgefleet_compression.errors import DataInvalid, RequestInvalid
from edgefleet_compression.metrics import (
    METRICS,
    UNSUPPORTED_METRICS,
    UNSUPPORTED_TASKS,
    TaskMetrics,
    classification_metrics,
    prediction_metrics,
    require_metric,
    require_supported,
)
from edgefleet_compression.text_metrics import corpus_bleu


def test_binary_metrics_are_those_of_a_confusion_matrix_by_hand() -> None:
    """TP 2, FP 1, FN 1, TN 4: F1 = 4/6; MCC = (2*4 - 1*1) / sqrt(3*3*5*5) = 7/15."""
    labels = np.array([1, 1, 1, 0, 0, 0, 0, 0])
    predicted = np.array([1, 1, 0, 1, 0, 0, 0, 0])
    found = classification_metrics(np.eye(2)[predicted], labels)
    assert (found.top1, found.top5) == (0.75, None)
    assert found.f1_binary == pytest.approx(2 / 3)
    assert found.mcc == pytest.approx(7 / 15)
    assert found.f1_macro == pytest.approx((2 / 3 + 8 / 10) / 2)


@pytest.mark.filterwarnings("ignore:A single label was found:UserWarning")
@pytest.mark.parametrize("n_classes", [2, 3, 10])
@pytest.mark.parametrize("n_samples", [1, 7, 400])
@pytest.mark.parametrize("share_right", [0.0, 0.6, 1.0])
def test_f1_and_mcc_are_scikit_learns(n_classes: int, n_samples: int, share_right: float) -> None:
    """Also where a class never occurs, is never named, or all is one class."""
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(n_classes * n_samples)
    for top in (1, n_classes):
        labels = rng.integers(0, top, n_samples)
        predicted = np.where(rng.random(n_samples) < share_right, labels, rng.integers(0, n_classes, n_samples))
        found = prediction_metrics(predicted, labels, n_classes=n_classes)
        macro = sklearn_metrics.f1_score(
            labels, predicted, labels=np.arange(n_classes), average="macro", zero_division=0.0
        )
        assert found.f1_macro == pytest.approx(macro, abs=1e-12)
        assert found.mcc == pytest.approx(sklearn_metrics.matthews_corrcoef(labels, predicted), abs=1e-12)
        if n_classes == 2:
            binary = sklearn_metrics.f1_score(labels, predicted, zero_division=0.0)
            assert found.f1_binary == pytest.approx(binary, abs=1e-12)


def test_a_class_that_the_model_does_not_have_is_a_wrong_one() -> None:
    found = prediction_metrics(np.array([0, 1, 2**62, -5]), np.array([0, 1, 1, 0]), n_classes=2)
    assert found.f1_binary == pytest.approx(2 / 3)
    assert found.f1_macro == pytest.approx(2 / 3)


def test_top_5_counts_the_five_best() -> None:
    logits = np.array([[6.0, 5, 4, 3, 2, 1], [6.0, 5, 4, 3, 2, 1]])
    found = classification_metrics(logits, np.array([4, 5]))
    assert (found.top1, found.top5) == (0.0, 0.5)
    assert found.f1_binary is None


@pytest.mark.parametrize("task", [*UNSUPPORTED_TASKS, "dreaming"])
def test_other_tasks_are_refused_with_a_reason(task: str) -> None:
    require_supported("classification")
    with pytest.raises(RequestInvalid) as caught:
        require_supported(task)
    assert caught.value.code == "task_unsupported"


def test_every_metric_of_a_job_is_one_that_is_reported() -> None:
    assert set(METRICS) == set(TaskMetrics.model_fields)


@pytest.mark.parametrize(
    ("metric", "n_classes", "code"),
    [
        *((metric, None, "task_unsupported") for metric in UNSUPPORTED_METRICS),
        ("auc", None, "metric_unknown"),
        ("f1_binary", 10, "metric_unsuitable"),
        ("top5", 5, "metric_unsuitable"),
    ],
)
def test_a_metric_that_says_nothing_here_is_refused(metric: str, n_classes: int | None, code: str) -> None:
    with pytest.raises(RequestInvalid) as caught:
        require_metric(metric, n_classes=n_classes)
    assert caught.value.code == code


@pytest.mark.parametrize(("metric", "n_classes"), [("f1_binary", 2), ("top5", 6), ("top5", None), ("mcc", 2)])
def test_other_metrics_are_taken(metric: str, n_classes: int | None) -> None:
    require_metric(metric, n_classes=n_classes)


def test_bleu_is_that_of_the_example_in_sacrebleus_own_readme() -> None:
    """Two references for three sentences: "BLEU = 48.53 82.4/50.0/45.5/37.5 (BP = 0.943 ...)"."""
    pytest.importorskip("sacrebleu", reason="the extra text is not installed")
    hypotheses = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
    references = [
        ["The dog bit the man.", "It was not unexpected.", "The man bit him first."],
        ["The dog had bit the man.", "No one was surprised.", "The man had bitten the dog."],
    ]
    found = corpus_bleu(hypotheses, references)
    assert found.score == pytest.approx(48.53, abs=0.01)
    assert "tok:13a" in found.signature


def test_bleu_of_texts_that_do_not_match_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sacrebleu", reason="the extra text is not installed")
    for hypotheses, references, code in (([], [[]], "data_empty"), (["a"], [["a", "b"]], "data_length_mismatch")):
        with pytest.raises(DataInvalid) as caught:
            corpus_bleu(hypotheses, references)
        assert caught.value.code == code
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    with pytest.raises(RequestInvalid) as missing:
        corpus_bleu(["a"], [["a"]])
    assert missing.value.code == "package_missing"
