"""Which samples are evaluated where not all are."""

import numpy as np
import pytest

from edgefleet_agent.runner.sampling import choose_samples, share_out


def test_without_a_limit_all_are_used() -> None:
    choice = choose_samples(5, None, None, seed=0)
    assert (choice.rows.tolist(), choice.sampling) == ([0, 1, 2, 3, 4], "all")


def test_a_limit_above_the_set_is_no_limit() -> None:
    assert choose_samples(5, 9, np.arange(5), seed=0).sampling == "all"


def test_every_class_keeps_its_share() -> None:
    """90, 9 and 1 of a hundred sorted samples: twenty of them are 18, 2 and 0 by largest remainder."""
    labels = np.repeat([0, 1, 2], [90, 9, 1])
    choice = choose_samples(100, 20, labels, seed=3)
    assert choice.sampling == "stratified"
    assert np.bincount(labels[choice.rows], minlength=3).tolist() == [18, 2, 0]
    assert len(set(choice.rows.tolist())) == 20


def test_the_draw_is_that_of_the_seed() -> None:
    labels = np.arange(1000) % 10
    first = choose_samples(1000, 50, labels, seed=1).rows.tolist()
    assert choose_samples(1000, 50, labels, seed=1).rows.tolist() == first
    assert choose_samples(1000, 50, labels, seed=2).rows.tolist() != first


def test_the_draw_is_the_same_under_every_numpy() -> None:
    """RandomState's stream is frozen (NEP 19): these rows came out of numpy 1.19 on Python 3.6 as well."""
    assert choose_samples(10, 4, np.arange(10) % 2, seed=0).rows.tolist() == EXPECTED


EXPECTED = [0, 1, 4, 5]


@pytest.mark.parametrize("labels", [None, np.linspace(0, 1, 30)], ids=["no labels", "real numbers"])
def test_without_classes_the_draw_is_plain(labels: "np.ndarray[tuple[int], np.dtype[np.float64]] | None") -> None:
    choice = choose_samples(30, 10, labels, seed=0)
    assert choice.sampling == "random"
    assert choice.rows.tolist() == sorted(set(choice.rows.tolist()))


def test_places_add_up_to_the_limit() -> None:
    assert share_out(10, np.array([1, 1, 1])).tolist() == [4, 3, 3]
