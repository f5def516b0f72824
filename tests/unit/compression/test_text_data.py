"""Texts: word pieces against the reference tokenizer, vocabularies, tab-separated files."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.data.registry import load_data
from edgefleet_compression.data.vocabulary import SPECIAL, Vocabulary, build_vocabulary, read_vocabulary, split_words
from edgefleet_compression.errors import DataInvalid

PIECES = [*SPECIAL, "un", "##aff", "##able", "run", "##ning", "a", "cafe", "!", ",", "_", "don", "'", "t", "2", "##nd"]
TEXTS = ["Unaffable!", "running, a  café", "don't run_a 2nd xyz", "", "AFF unaff-able"]


def pieces() -> Vocabulary:
    return Vocabulary({token: number for number, token in enumerate(PIECES)}, has_pieces=True)


def test_word_pieces_of_the_paper_s_example() -> None:
    """Devlin et al. 2019, reference code, docstring of WordpieceTokenizer: unaffable -> un ##aff ##able."""
    found = pieces().encode(["unaffable"], length=6)
    assert [PIECES[number] for number in found] == ["[CLS]", "un", "##aff", "##able", "[SEP]", "[PAD]"]


def test_word_pieces_equal_those_of_the_reference_library() -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="the reference tokenizer is not installed")
    ids = {token: number for number, token in enumerate(PIECES)}
    reference = tokenizers.Tokenizer(tokenizers.models.WordPiece(ids, unk_token="[UNK]"))
    reference.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    reference.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    for text in TEXTS:
        expected = [ids["[CLS]"], *reference.encode(text).ids, ids["[SEP]"]]
        assert pieces().encode([text], length=40)[: len(expected)] == expected


def test_long_text_is_cut_off_with_its_separator_kept() -> None:
    found = pieces().encode(["a a a a a"], length=4)
    assert [PIECES[number] for number in found] == ["[CLS]", "a", "a", "[SEP]"]


def test_of_two_texts_the_longer_one_is_cut_first() -> None:
    """Devlin et al. 2019, reference code, _truncate_seq_pair: the longer one, the second of equal ones."""
    found = pieces().encode(["a a a a a a", "run ! ,"], length=8)
    assert [PIECES[number] for number in found] == ["[CLS]", "a", "a", "a", "[SEP]", "run", "!", "[SEP]"]


def test_words_are_ranked_by_frequency_then_alphabet() -> None:
    vocabulary = build_vocabulary(["b a b", "c a B"], size=6)
    assert list(vocabulary.ids) == [*SPECIAL, "b", "a"]
    assert vocabulary.encode(["a z"], length=4) == [2, 5, 1, 3]


def test_words_have_no_accents_and_punctuation_stands_alone() -> None:
    assert split_words("Crème-brûlée: yes!!") == ["creme", "-", "brulee", ":", "yes", "!", "!"]


def test_vocabulary_is_read_from_lines_and_from_json(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES))
    document = {"model": {"type": "WordPiece", "vocab": {token: number for number, token in enumerate(PIECES)}}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    assert read_vocabulary(tmp_path / "vocab.txt") == read_vocabulary(tmp_path / "tokenizer.json") == pieces()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("vocab.txt", "a\nb"),
        ("vocab.txt", "[CLS]\n[SEP]\n[UNK]\n[PAD]"),
        ("t.json", "{"),
        ("t.json", '{"model": {"type": "BPE", "vocab": {}}}'),
        ("t.json", '{"model": 3}'),
    ],
)
def test_what_is_no_vocabulary_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataInvalid) as caught:
        read_vocabulary(tmp_path / name)
    assert caught.value.code == "vocabulary_invalid"


def load(tmp_path: Path, train: str, test: str, **fields: Any) -> DataSet:
    for name, text in (("train.tsv", train), ("dev.tsv", test)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    files = {"train": str(tmp_path / "train.tsv"), "test": str(tmp_path / "dev.tsv")}
    data = load_data({"kind": "tsv", **files, "length": 6, "n_validation": 2, **fields})
    assert data is not None
    return data


SST = "label\tsentence\n" + "".join(f"{number % 2}\tword{number} film\n" for number in range(8))
DEV = "label\tsentence\r\n1\tword0 film word9\r\n0\tunseen film\r\n\r\n"


def test_glue_file_becomes_token_ids(tmp_path: Path) -> None:
    data = load(tmp_path, SST, DEV)
    assert (len(data.train), len(data.validation), len(data.test)) == (6, 2, 2)
    assert data.test.y is not None
    assert data.test.y.tolist() == [1, 0]
    assert data.test.x.shape == (2, 6)
    assert data.test.x[1].tolist() == [2, 1, 4, 3, 0, 0], "start, unknown, film (the most frequent), separator"


def test_vocabulary_knows_the_training_split_alone(tmp_path: Path) -> None:
    """Six training lines of eight: their six words are known, those of the two validation lines are not."""
    data = load(tmp_path, SST, DEV)
    assert (data.train.x[:, 1] != 1).all()
    assert (data.validation.x[:, 1] == 1).all()


def test_two_texts_and_labels_in_words(tmp_path: Path) -> None:
    lines = "".join(f"a{number}\tb\t{name}\n" for number, name in enumerate(["no", "yes"] * 4))
    data = load(tmp_path, "q\tr\tanswer\n" + lines, "q\tr\tanswer\na0\tb\tyes\n", text=["q", "r"], label="answer")
    assert data.test.y is not None
    assert data.test.y.tolist() == [1]
    assert data.test.x[0].tolist().count(3) == 2, "a separator after each text"


def test_files_of_glue_with_their_oddities_are_read(tmp_path: Path) -> None:
    """CoLA has no header line, MRPC a byte order mark and columns with spaces, QQP lines with a column missing."""
    cola = "".join(f"gj04\t{number % 2}\t{'*' * (number % 2)}\tword{number} film\n" for number in range(8))
    columns = ["source", "label", "mark", "sentence"]
    assert len(load(tmp_path, cola, cola, columns=columns).test) == 8

    lines = "".join(f"{number % 2}\t1\t2\ta{number}\tb\n" for number in range(8))
    mrpc = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n" + lines
    fields = {"text": ["#1 String", "#2 String"], "label": "Quality"}
    assert len(load(tmp_path, mrpc, mrpc, **fields).test) == 8

    assert len(load(tmp_path, SST + "cut off\n", DEV, skip_broken_lines=True).train) == 6


def test_measurements_are_no_classes(tmp_path: Path) -> None:
    scores = "label\tsentence\n" + "".join(f"{number / 2:.3f}\tword{number}\n" for number in range(8))
    with pytest.raises(DataInvalid) as caught:
        load(tmp_path, scores, scores)
    assert caught.value.code == "labels_not_classes"


def test_word_pieces_from_a_file_are_used(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES))
    train = SST.replace("film", "running")
    data = load(tmp_path, train, DEV.replace("film", "running"), vocabulary_file=str(tmp_path / "vocab.txt"))
    assert data.test.x[1].tolist() == [2, 1, 7, 8, 3, 0]


@pytest.mark.parametrize(
    ("code", "train", "test"),
    [
        ("column_missing", SST.replace("sentence", "text"), DEV),
        ("data_unreadable", SST + "1\ttoo\tmany\n", DEV),
        ("data_empty", SST, "label\tsentence\n"),
        ("labels_invalid", SST, "label\tsentence\n-1\tfilm\n"),
        ("data_too_small", "label\tsentence\n1\ta\n0\tb\n", DEV),
    ],
)
def test_bad_file_is_refused(tmp_path: Path, code: str, train: str, test: str) -> None:
    with pytest.raises(DataInvalid) as caught:
        load(tmp_path, train, test)
    assert caught.value.code == code


def test_missing_and_binary_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.tsv").write_bytes(b"label\tsentence\n1\t\xff\xfe\n")
    for name, code in (("none.tsv", "data_missing"), ("binary.tsv", "data_unreadable")):
        with pytest.raises(DataInvalid) as caught:
            load_data({"kind": "tsv", "train": str(tmp_path / name), "test": str(tmp_path / name)})
        assert caught.value.code == code
