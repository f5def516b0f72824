"""Specifications of data sets. Torch-free.

Every one has a ``split_seed``: how the data are cut is part of their identity and never of a job's seed. A network that
was trained on one cut would be tested on its own training samples by another.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

PathField = Annotated[Path, Field(description="Absolute path.")]


class DataSpecBase(BaseModel):
    """A frozen specification; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    split_seed: int = Field(0, ge=0, lt=2**31, description="Seed of the cut into training, validation and test.")


class PackagedData(DataSpecBase):
    """A data set that comes with a Python package."""

    kind: Literal["packaged"] = "packaged"
    name: str = Field(max_length=64, description="Registered name, for example digits.")
    side: int | None = Field(
        None,
        ge=8,
        le=256,
        multiple_of=8,
        description="Height and width in pixels, by repeating pixels; null: as packaged.",
    )


class GeneratedData(DataSpecBase):
    """A synthetic task that is made from a seed; no figure on it says anything about real data."""

    kind: Literal["generated"] = Field("generated", description="A synthetic task.")
    name: Literal["keywords"] = Field(description="keywords: in which order two pairs of tokens occur in a text.")
    n_samples: int = Field(4000, ge=64, le=1_000_000, description="Samples, all splits together.")
    length: int = Field(16, ge=8, le=512, description="Tokens of a sample, padding included.")
    vocabulary: int = Field(64, ge=6, le=65536, description="Token ids lie below this.")


class NpzData(DataSpecBase):
    """A person's own .npz file."""

    kind: Literal["npz"] = "npz"
    path: Path = Field(description="Absolute path of the .npz file.")


class _Images(DataSpecBase):
    """Images are kept as uint8 and scaled to 0..1 where they are used, unless they are normalised here."""

    mean: tuple[float, ...] | None = Field(
        None,
        max_length=4,
        description="Per channel, of pixels in 0..1; with std: pixels become (x - mean) / std as float32.",
    )
    std: tuple[Annotated[float, Field(gt=0.0)], ...] | None = Field(None, max_length=4, description="See mean.")


class CifarData(_Images):
    """CIFAR-10 or CIFAR-100 (Krizhevsky 2009) from its original binary archive, cifar-10-binary.tar.gz or
    cifar-100-binary.tar.gz. The 10,000 test images are the test split; validation is cut from the training images.
    """

    kind: Literal["cifar"] = "cifar"
    path: PathField
    n_validation: int = Field(5000, ge=1, le=49_000, description="Training images that become the validation split.")


class ImagePackData(_Images):
    """Images packed in .npz files: ``jpeg`` (bytes, one after another) with ``offsets`` (n + 1), or ``x`` uint8 (n, h, w, c),
    and ``y``.
    """

    kind: Literal["image_pack"] = "image_pack"
    train: Path = Field(description="Absolute path of the pack to train on.")
    test: Path | None = Field(None, description="Absolute path of the test split; null: it is cut from the first pack.")
    n_validation: int = Field(5000, ge=1, description="With a test pack: images of the first that become validation.")


class ImageFolderData(_Images):
    """Folders of images, one per class: train/<class>/*, with val or test beside train; or <class>/* alone, which is cut."""

    kind: Literal["image_folder"] = "image_folder"
    path: PathField
    side: int = Field(224, ge=8, le=1024, description="Height and width in pixels after resizing and cropping.")
    crop: float = Field(
        0.875,
        gt=0.0,
        le=1.0,
        description="side over the length that the shorter side is resized to; the centre is kept.",
    )
    validation_share: float = Field(
        0.1, gt=0.0, lt=1.0, description="Share of train that becomes validation where there is no folder for it."
    )


class TsvData(DataSpecBase):
    """Texts with labels in tab-separated files, as GLUE has them. Becomes token ids: with ``vocabulary_file`` by that
    word-piece vocabulary, else by the most frequent words of the training split.
    """

    kind: Literal["tsv"] = "tsv"
    train: Path = Field(description="Absolute path of the file to train on; validation is cut from it.")
    test: Path = Field(description="Absolute path of the file whose labelled lines are the test split (GLUE: dev).")
    text: tuple[str, ...] = Field(("sentence",), min_length=1, max_length=2, description="Columns of one or two texts.")
    label: str = Field("label", description="Column of the labels.")
    columns: tuple[str, ...] | None = Field(
        None, min_length=2, max_length=100, description="Names of the columns of files without a header line (CoLA's)."
    )
    skip_broken_lines: bool = Field(
        False, description="Leave out lines with another number of columns (QQP has some) instead of refusing the file."
    )
    length: int = Field(
        64, ge=4, le=4096, description="Tokens of a sample; longer texts are cut off, shorter ones padded."
    )
    vocabulary: int = Field(8192, ge=8, le=65536, description="Size of a vocabulary that is built from words.")
    vocabulary_file: Path | None = Field(
        None, description="Absolute path of a BERT vocabulary: vocab.txt, or tokenizer.json with a WordPiece model."
    )
    n_validation: int = Field(1000, ge=1, description="Lines of the first file that become the validation split.")


DataSpec = Annotated[
    PackagedData | GeneratedData | NpzData | CifarData | ImagePackData | ImageFolderData | TsvData,
    Field(discriminator="kind"),
]
