"""Tables as people and spreadsheets save them: one reader for whatever separates the columns, in UTF-8 or UTF-16."""

from __future__ import annotations

import csv
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from edge.errors import DataError
from edge.outside.reading import read_bounded

_MOST_BYTES = 256 << 20
_DELIMITERS = ",;\t|"

Row = dict[str, str]


def read_rows(table: Path, columns: Sequence[str]) -> list[tuple[Row, str]]:
    """Read a table's rows, empty ones left out: each by the names of its columns in small letters, and where it stands, for a message.

    Args:
        table: the file.
        columns: that it must have, in any case of letters.

    Raises:
        DataError: it cannot be read, or lacks a column.
    """
    try:
        blob = read_bounded(table, _MOST_BYTES)
        text = blob.decode("utf-16" if blob.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig")
        rows = csv.reader(StringIO(text, newline=""), delimiter=max(_DELIMITERS, key=text.partition("\n")[0].count))
        header = [name.strip().casefold() for name in next(rows, [])]
        if not {name.casefold() for name in columns} <= set(header):
            wanted = f"columns {' and '.join(columns)}" if len(columns) > 1 else f"a column {columns[0]}"
            raise DataError(f"wanted {wanted} in the first line of {table}, found {', '.join(header) or 'nothing'}: correct that line")
        return [(dict(zip(header, row, strict=False)), f"line {rows.line_num} of {table}") for row in rows if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"wanted a csv in UTF-8 in {table}, cannot read it ({error}): save it as UTF-8 text") from error
