"""Files in which texts hold what moves a cursor: in every form, and signed where papers are.

`MARKS` are what a terminal obeys and an eye does not see. A form is a file that anybody can write;
a paper is one of Fieldfare's own, in which any text, and any key, may be a stranger's.
"""

import base64
import io
import json
import random
import sqlite3
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import rfc8785
import tomlkit
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldfare.shared.canonical import under_type

WORD: Final = "zq9"
MARKS: Final = (
    f"\x1b[8m\x1b]0;{WORD}\x07\r{WORD}",  # conceal what follows, name the window, overwrite a line
    f"\x9b2J\x9d0;{WORD}\x9c\x85",  # the same in one sign each (C1)
    "\u202e\u2066\u061c\u200e\u200f\u2069",  # turn the direction of reading
    "\u2028\u2029\u200b\u200d\u2060\ufeff",  # end a line or a paragraph, join, be nothing
)
EVERY: Final = "".join(MARKS)
# What may stand on no screen of ours; our own colours and bars begin in other ways.
TRACES: Final = (
    "\x1b[8m", "\x1b]", "\x07", f"\r{WORD}", *"\x9b\x9d\x9c\x85", *MARKS[2], *MARKS[3]
)  # fmt: skip
Drawn = random.Random


def marked(value: Any, mark: str, drawn: Drawn | None = None) -> Any:
    """Put a mark into every text of a value, or into those that are drawn; keys too, then."""
    if isinstance(value, dict):
        return {
            name + mark if drawn and drawn.random() < 0.05 else name: marked(one, mark, drawn)
            for name, one in value.items()
        }
    if isinstance(value, list):
        return [marked(one, mark, drawn) for one in value]
    if not isinstance(value, str) or (drawn and drawn.random() < 0.6):
        return value
    try:
        inner = json.loads(value)
    except ValueError:
        return value + mark
    nested = isinstance(inner, dict)
    return rfc8785.dumps(marked(inner, mark, drawn)).decode() if nested else value + mark


def paper(content: bytes, keys: Mapping[str, Ed25519PrivateKey], mark: str, drawn: Drawn) -> bytes:
    """Return a signed paper, or a file of JSON, with drawn texts marked and signed anew."""
    found = json.loads(content)
    if set(found) != {"type", "body", "signer", "signature"}:
        return rfc8785.dumps(marked(found, mark, drawn))
    body = marked(found["body"], mark, drawn)
    key = keys.get(found["signer"]) or next(iter(keys.values()))
    signature = key.sign(under_type(found["type"], rfc8785.dumps(body)))
    signer = found["signer"] + (mark if drawn.random() < 0.1 else "")
    text = base64.b64encode(signature).decode()
    return rfc8785.dumps({**found, "body": body, "signer": signer, "signature": text})


def toml(content: bytes, mark: str, drawn: Drawn) -> bytes:
    """Return a TOML file with drawn texts and keys marked."""
    return tomlkit.dumps(marked(tomlkit.parse(content.decode()).unwrap(), mark, drawn)).encode()


def raw(content: bytes, mark: str, drawn: Drawn) -> bytes:
    """Return bytes with marks at drawn places."""
    for _ in range(drawn.randint(1, 4)):
        at = drawn.randint(0, len(content))
        content = content[:at] + mark.encode() + content[at:]
    return content


def table(mark: str) -> pa.Table:
    """Return a table whose columns and texts are marked."""
    columns = ("customer", f"customer{mark}", "reported", f"amount{mark}", f"{mark}\n{WORD}")
    texts = [f"a{mark}", f"b{mark}"]
    return pa.table({name: texts if at else ["a", "b"] for at, name in enumerate(columns)})


def _csv(mark: str) -> bytes:
    out = io.BytesIO()
    pc.write_csv(table(mark), out)
    return out.getvalue()


def _parquet(mark: str) -> bytes:
    out = io.BytesIO()
    pq.write_table(table(mark), out)
    return out.getvalue()


def _arrow(mark: str) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_file(out, table(mark).schema) as writer:
        writer.write_table(table(mark))
    return out.getvalue()


def _zip(mark: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("manifest.json", json.dumps({"made": mark, mark: [mark]}))
        archive.writestr(f"{mark}.html", mark)
    return out.getvalue()


def _yaml(mark: str) -> bytes:
    rows = {"id": f"R01{mark}", "title": mark, mark: [mark]}
    text: str = yaml.safe_dump(rows, allow_unicode=True)
    return text.encode()


def _xml(mark: str) -> bytes:
    shown = "".join(f"&#{ord(c)};" for c in mark)
    return f'<?xml version="1.0"?><Document a="{shown}">{mark}<zq9 b="{mark}"/></Document>'.encode()


FORMS: Final[Mapping[str, Callable[[str], bytes]]] = {
    ".txt": lambda mark: f"{mark}\n\n{mark}:{mark}={mark}\n".encode(),
    ".json": lambda mark: json.dumps({"format": mark, "type": mark, mark: [mark]}).encode(),
    ".jsonl": lambda mark: (json.dumps({"type": mark, "body": {mark: mark}}) + "\n").encode() * 2,
    ".toml": lambda mark: tomlkit.dumps({"name": mark, mark: {"kind": mark}}).encode(),
    ".yaml": _yaml,
    ".xml": _xml,
    ".csv": _csv,
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".zip": _zip,
}
DATABASES: Final = (".duckdb", ".sqlite")


def database(path: Path, mark: str) -> None:
    """Make a database with a marked table and marked columns."""
    name = '"' + f"t{mark}".replace('"', '""') + '"'
    columns = ", ".join(
        '"' + one.replace('"', '""') + '" VARCHAR' for one in table(mark).column_names
    )
    if path.suffix == ".duckdb":
        with duckdb.connect(str(path)) as found:
            found.execute(f"CREATE TABLE {name} ({columns})")
        return
    with sqlite3.connect(path) as file:
        file.execute(f"CREATE TABLE {name} ({columns})")
    file.close()


def traces(shown: str) -> list[str]:
    """Return which marks a screen shows."""
    return [one for one in TRACES if one in shown]
