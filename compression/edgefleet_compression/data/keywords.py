"""A synthetic text task, made here from a seed: in which order do two pairs of keywords occur?

It is no natural language; it is for trying text networks where no text is packaged. Every sample holds each of the four
keywords once, among random filler, so that a bag of words tells nothing (25 % right): the order alone decides.
"""

from typing import Final

import numpy as np

from edgefleet_compression.data.dataset import Array, DataSet
from edgefleet_compression.data.splitting import split_seeded

KEYWORDS: Final = (1, 2, 3, 4)
"""Token ids; label = (1 stands before 2) + 2 * (3 stands before 4). 0 is padding, ids from 5 on are filler."""

N_CLASSES: Final = 4


def load(seed: int, *, n_samples: int = 4000, length: int = 16, vocabulary: int = 64) -> DataSet:
    """Return token ids x int64 (n, length), padded at the end with 0, and labels y int64 (n,) of four classes.

    The samples are always the same; ``seed`` cuts them into splits. A sample has between 3/4 of ``length`` and ``length``
    tokens. length >= 8, vocabulary >= 6.
    """
    rng = np.random.default_rng(20261121)
    y = np.arange(n_samples, dtype=np.int64) % N_CLASSES
    x = np.stack([_sample(rng, int(label), length=length, vocabulary=vocabulary) for label in y])
    return split_seeded("keywords", {"x": x}, y, seed=seed)


def _sample(rng: np.random.Generator, label: int, *, length: int, vocabulary: int) -> Array:
    n_tokens = int(rng.integers(length * 3 // 4, length + 1))
    tokens = np.zeros(length, dtype=np.int64)
    tokens[:n_tokens] = rng.integers(len(KEYWORDS) + 1, vocabulary, n_tokens)
    places = rng.permutation(n_tokens)[: len(KEYWORDS)]
    for pair, (first, second) in enumerate((KEYWORDS[:2], KEYWORDS[2:])):
        low, high = sorted(places[2 * pair : 2 * pair + 2])
        is_in_order = label >> pair & 1
        tokens[low], tokens[high] = (first, second) if is_in_order else (second, first)
    return tokens
