"""All rows, in the order in which they are carried out."""

from collections.abc import Sequence
from typing import Final

from tests.benchmarks.compression_rows import headline, long, orders, sweep, techniques, text, trainings, vgg
from tests.benchmarks.compression_rows.row import Row, Scale

ROWS: Final[tuple[Row, ...]] = (
    *headline.ROWS,
    *techniques.ROWS,
    *trainings.rows(),
    *sweep.rows(),
    *long.ROWS,
    *orders.rows(),
    *vgg.ROWS,
    *text.ROWS,
)


def chosen(scale: Scale, names: Sequence[str]) -> list[Row]:
    """Return the rows of these names, or those of the scale, where full has all that a CPU does in hours; KeyError for an
    unknown name.
    """
    known = {row.name: row for row in ROWS}
    if names:
        return [known[name] for name in names]
    scales = {"quick", "sweep", "full"} if scale == "full" else {scale}
    return [row for row in ROWS if row.scale in scales]
