"""Texts with labels in tab-separated files, as GLUE has them."""

import re
from pathlib import Path
from typing import Final

import numpy as np

from edgefleet_compression.data.dataset import DataSet, Split
from edgefleet_compression.data.specs import TsvData
from edgefleet_compression.data.splitting import cut_validation
from edgefleet_compression.data.vocabulary import Vocabulary, build_vocabulary, read_vocabulary
from edgefleet_compression.errors import DataInvalid

MAX_FILE_BYTES: Final = 1024**3
_MEASUREMENT: Final = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")
Rows = list[tuple[tuple[str, ...], str]]
"""Texts and label of every line."""


def load(spec: TsvData) -> DataSet:
    """Return token ids x int64 (n, length) and labels y int64 (n,).

    Labels are the whole numbers of the file, or the places of its words in alphabetical order. A vocabulary that is built
    sees the training split alone: neither validation nor test.
    """
    train_rows, test_rows = _read(spec.train, spec), _read(spec.test, spec)
    labels = _label_numbers(train_rows)
    order = Split({"row": np.arange(len(train_rows))}, None)
    kept, held_out = cut_validation(order, n_validation=spec.n_validation, seed=spec.split_seed)
    parts = [[train_rows[row] for row in split.x] for split in (kept, held_out)]
    vocabulary = vocabulary_of(spec, parts[0])
    train, validation, test = (_encode(rows, labels, vocabulary, spec) for rows in (*parts, test_rows))
    return DataSet(spec.train.stem, train, validation, test)


def vocabulary_of(spec: TsvData, rows: Rows) -> Vocabulary:
    """Return the vocabulary of the specification's file, or that of these rows' words."""
    if spec.vocabulary_file is not None:
        return read_vocabulary(spec.vocabulary_file)
    return build_vocabulary((text for texts, _ in rows for text in texts), size=spec.vocabulary)


def _read(path: Path, spec: TsvData) -> Rows:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DataInvalid(f"{path.name} is larger than {MAX_FILE_BYTES} bytes.", code="data_too_large")
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # MRPC's files begin with a byte order mark
    except FileNotFoundError as error:
        raise DataInvalid(f"There is no data file {path.name}.", code="data_missing") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataInvalid(f"{path.name} cannot be read as UTF-8 text ({error}).", code="data_unreadable") from error
    header = list(spec.columns) if spec.columns is not None else lines.pop(0).rstrip("\r").split("\t")
    missing = [name for name in (*spec.text, spec.label) if name not in header]
    if missing:
        raise DataInvalid(
            f"{path.name} has no column {missing[0]!r}; its columns are {', '.join(header[:20])}. Name those of a file without "
            "a header line in columns.",
            code="column_missing",
        )
    rows = _rows(lines, header, spec, path.name)
    if not rows:
        raise DataInvalid(f"{path.name} has no line with a sample.", code="data_empty")
    return rows


def _rows(lines: list[str], header: list[str], spec: TsvData, file_name: str) -> Rows:
    places = [header.index(name) for name in (*spec.text, spec.label)]
    rows: Rows = []
    for number, line in enumerate(lines, start=1 if spec.columns is not None else 2):
        if not line.strip():
            continue
        cells = line.rstrip("\r").split("\t")
        if len(cells) == len(header):
            *texts, label = (cells[place] for place in places)
            rows.append((tuple(texts), label))
        elif not spec.skip_broken_lines:
            raise DataInvalid(
                f"Line {number} of {file_name} has {len(cells)} columns, the file {len(header)}: mend it, or set "
                "skip_broken_lines.",
                code="data_unreadable",
            )
    return rows


def _label_numbers(rows: Rows) -> dict[str, int]:
    names = sorted({label for _, label in rows})
    measured = next((name for name in names if _MEASUREMENT.fullmatch(name)), None)
    if measured is not None:
        raise DataInvalid(
            f"Label {measured} is a measurement, not a class: regression (STS-B) is not supported, networks and metrics here are "
            "of classes.",
            code="labels_not_classes",
        )
    if not all(name.isdecimal() for name in names):
        return {name: number for number, name in enumerate(names)}
    return {name: int(name) for name in names}


def _encode(rows: Rows, labels: dict[str, int], vocabulary: Vocabulary, spec: TsvData) -> Split:
    unknown = sorted({label for _, label in rows} - set(labels))
    if unknown:
        raise DataInvalid(
            f"Label {unknown[0]!r} is not among those of the training file ({', '.join(sorted(labels)[:10])}); test files "
            "without true labels cannot be used: take the development file.",
            code="labels_invalid",
        )
    x = np.array([vocabulary.encode(texts, length=spec.length) for texts, _ in rows], np.int64)
    return Split({"x": x}, np.array([labels[label] for _, label in rows], np.int64))
