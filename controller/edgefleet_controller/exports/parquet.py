"""Results as Parquet (extra ``parquet``)."""

from pathlib import Path

from edgefleet_controller.client.errors import ExtraMissing
from edgefleet_controller.client.rows import COLUMNS, Results, flat_row


def write_parquet(results: Results, path: Path) -> Path:
    """Write the columns of ``COLUMNS`` with their types and null where there is no figure; ExtraMissing without pyarrow.

    The file's metadata says whether the job's results were partial.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as err:
        raise ExtraMissing("pyarrow", "parquet") from err
    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    said = {b"edgefleet.partial": str(results.partial).lower().encode()}
    schema = pa.schema([pa.field(name, kinds[kind]) for name, (kind, _) in COLUMNS.items()], metadata=said)
    pq.write_table(pa.Table.from_pylist([flat_row(document) for document in results.documents], schema=schema), path)
    return path
