"""Token ids of texts: whole words, or BERT's word pieces.

Texts are lower-cased, accents stripped, and split at white space and around punctuation (Devlin et al. 2019,
arXiv:1810.04805, reference code ``BasicTokenizer``, uncased).
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgefleet_compression.errors import DataInvalid

PADDING, UNKNOWN, START, SEPARATOR = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
SPECIAL: Final = (PADDING, UNKNOWN, START, SEPARATOR)
MAX_WORD: Final = 100
"""Longer words become unknown (reference code, ``max_input_chars_per_word``)."""
MAX_FILE_BYTES: Final = 64 * 1024**2
_WORDS: Final = re.compile(r"[^\W_]+|[^\w\s]|_")


@dataclass(frozen=True)
class Vocabulary:
    """Token -> id; padding has 0. ``has_pieces``: unknown words are cut into known pieces, ``##`` before all but the first."""

    ids: Mapping[str, int]
    has_pieces: bool

    def __post_init__(self) -> None:
        missing = [token for token in SPECIAL if token not in self.ids]
        if missing or self.ids[PADDING] != 0:
            raise DataInvalid(
                f"A vocabulary needs {', '.join(SPECIAL)}, and {PADDING} as id 0.", code="vocabulary_invalid"
            )

    def encode(self, texts: Sequence[str], *, length: int) -> list[int]:
        """Return exactly ``length`` ids: start, the texts with a separator after each, padding.

        Too long: the longest text loses its last pieces first, the second of two equal ones (the reference code's
        ``_truncate_seq_pair``), so that a long first text does not push out the second one.
        """
        pieces = [[piece for word in split_words(text) for piece in self._pieces(word)] for text in texts]
        room = length - 1 - len(texts)
        while sum(len(part) for part in pieces) > room:
            longest = max(range(len(pieces)), key=lambda index: (len(pieces[index]), index))
            pieces[longest].pop()
        tokens = [self.ids[START]]
        for part in pieces:
            tokens += [*part, self.ids[SEPARATOR]]
        return tokens + [self.ids[PADDING]] * (length - len(tokens))

    def _pieces(self, word: str) -> list[int]:
        """Longest known piece first (the reference code's ``WordpieceTokenizer``)."""
        if word in self.ids:
            return [self.ids[word]]
        if not self.has_pieces or len(word) > MAX_WORD:
            return [self.ids[UNKNOWN]]
        found: list[int] = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if prefix + word[start:end] in self.ids), None)
            if end is None:
                return [self.ids[UNKNOWN]]
            found.append(self.ids[prefix + word[start:end]])
            start = end
        return found


def split_words(text: str) -> list[str]:
    """Return the lower-case words and punctuation marks of a text, without accents."""
    decomposed = unicodedata.normalize("NFD", text.lower())
    return _WORDS.findall("".join(mark for mark in decomposed if unicodedata.category(mark) != "Mn"))


def build_vocabulary(texts: Iterable[str], *, size: int) -> Vocabulary:
    """Return the most frequent words of the texts, with the special tokens at most ``size``; ties go by the alphabet."""
    counts = Counter(word for text in texts for word in split_words(text))
    ranked = sorted(counts, key=lambda word: (-counts[word], word))[: size - len(SPECIAL)]
    return Vocabulary({token: number for number, token in enumerate((*SPECIAL, *ranked))}, has_pieces=False)


def read_vocabulary(path: Path) -> Vocabulary:
    """Return BERT's word pieces of a vocab.txt (one token a line) or a tokenizer.json; DataInvalid if it is neither."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DataInvalid(f"{path.name} is larger than {MAX_FILE_BYTES} bytes.", code="vocabulary_invalid")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataInvalid(f"The vocabulary {path.name} cannot be read ({error}).", code="vocabulary_invalid") from error
    ids = _json_ids(text, path.name) if path.suffix == ".json" else _line_ids(text)
    return Vocabulary(ids, has_pieces=True)


def _line_ids(text: str) -> dict[str, int]:
    return {token: number for number, token in enumerate(text.splitlines())}


def _json_ids(text: str, name: str) -> dict[str, int]:
    try:
        model = json.loads(text)["model"]
        ids = model["vocab"] if model.get("type", "WordPiece") == "WordPiece" else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataInvalid(f"{name} is no tokenizer.json ({error}).", code="vocabulary_invalid") from error
    if not isinstance(ids, dict) or not all(isinstance(number, int) for number in ids.values()):
        raise DataInvalid(
            f"{name} holds no WordPiece vocabulary; other models are not read.", code="vocabulary_invalid"
        )
    return ids
