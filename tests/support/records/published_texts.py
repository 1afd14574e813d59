"""Published texts as Parquet files of the columns that their shipped studies read.

Not as CSV: some texts have line breaks, which end a row there.
"""

import csv
import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def write_messages(data: Path, path: Path) -> None:
    """Write short messages, for studies/sms.toml."""
    with gzip.open(data / "sms" / "SMSSpamCollection.gz", "rt", encoding="utf-8") as file:
        lines = [line.rstrip("\n").partition("\t") for line in file]
    rows = [[str(row), label, text] for row, (label, _, text) in enumerate(lines, start=1)]
    _write(path, ("message", "label", "text"), rows)


def write_comments(data: Path, path: Path) -> None:
    """Write comments below five videos, for studies/youtube.toml."""
    rows = []
    for file in sorted((data / "youtube").glob("Youtube*.csv")):
        lines = file.read_text("utf-8").lstrip().splitlines(keepends=True)
        for row, line in enumerate(csv.DictReader(lines)):
            rows.append([f"{file.stem}-{row}", file.stem, line["CLASS"], line["CONTENT"]])
    _write(path, ("comment", "video", "spam", "text"), rows)


def _write(path: Path, names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    columns = map(list, zip(*rows, strict=True))
    pq.write_table(pa.table(dict(zip(names, columns, strict=True))), path)
