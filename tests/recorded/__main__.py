"""Record what this tree does, and compare two recordings: before something moves, and after.

    python -m tests.recorded record OUT [PART ...]
    python -m tests.recorded compare BEFORE AFTER [PART ...]

Parts: `screens` (what every command writes, with `--help` and `--json`, over full homes),
`coordinator` and `institution` (the same of theirs), `demo` (those over the demo's home), `runs`
(those that simulate), `pages` (of both consoles), `calls` (a kept run at one custodian, frame by
frame), `transcripts` (what an audit says of the kept ones) and `golden` (models and answers of
eight studies). They run beside each other, a process each. `compare` prints a short diff of each
recording that differs and is not named in tests/recorded/allowed.toml, and ends with 1 where there
is one. `make nightly PART=recorded BEFORE=FOLDER` records the newest tree and compares. A recording
is never committed: it is large, and belongs to one machine.
"""

import argparse
import difflib
import json
import os
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

ALLOWED: Final = Path(__file__).with_name("allowed.toml")
MOST_LINES: Final = 12  # of a diff
WIDEST: Final = 200  # characters of its lines
SIDES: Final = ("coordinator", "institution")
FIGURES: Final = "figures"

Recordings = Iterator[tuple[str, bytes]]


def _screens(part: str, counted: Counter[str]) -> Recordings:
    from tests.recorded.screens import record_screens

    return record_screens(part, counted)


def _pages(counted: Counter[str]) -> Recordings:
    from tests.recorded.pages import record_pages

    return record_pages(counted)


def _calls(counted: Counter[str]) -> Recordings:
    from tests.recorded.calls import record_calls

    with TemporaryDirectory(prefix="ff-") as folder:
        for path, content in record_calls(Path(folder)):
            counted["calls"] += 1
            yield path, content


def _transcripts(counted: Counter[str]) -> Recordings:
    from tests.golden.test_transcripts import KEPT, NAMES, audited

    for name in NAMES:
        counted["transcripts"] += 1
        said = audited(KEPT / name / "run.transcript", KEPT / name / "roster.signed")
        yield f"transcripts/{name}.json", json.dumps(said, indent=1, sort_keys=True).encode()


def _golden(counted: Counter[str]) -> Recordings:
    with TemporaryDirectory(prefix="ff-") as folder:
        command = [sys.executable, "-m", "tests.golden.record", "--out", folder]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)  # golden.toml is a test's
        for path in sorted(one for one in Path(folder).rglob("*") if one.is_file()):
            counted["golden"] += 1
            yield f"golden/{path.relative_to(folder).as_posix()}", path.read_bytes()


PARTS: Final[Mapping[str, Callable[[Counter[str]], Recordings]]] = {
    **{one: partial(_screens, one) for one in ("screens", *SIDES, "demo", "runs")},
    "pages": _pages,
    "calls": _calls,
    "transcripts": _transcripts,
    "golden": _golden,
}


def record_part(out: Path, part: str) -> None:
    """Record one part in this process, with figures of it."""
    began, counted = time.monotonic(), Counter[str]()
    for name, content in PARTS[part](counted):
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    told = {"seconds": round(time.monotonic() - began, 1), **dict(sorted(counted.items()))}
    (out / FIGURES).mkdir(exist_ok=True)
    (out / FIGURES / f"{part}.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")


def record(out: Path, parts: Sequence[str]) -> int:
    """Record parts into a folder, each in a process of its own; say how long each took."""
    out.mkdir(parents=True, exist_ok=True)
    others = {one.name for one in out.iterdir()} - {FIGURES} - ({*PARTS} - {*parts})
    if others:  # a recording that is there is never mixed with another, nor with anything else
        sys.stderr.write(f"{out}: expected none of {', '.join(parts)} yet, and nothing but a ")
        sys.stderr.write(f"recording's parts, found {', '.join(sorted(others)[:3])}\n")
        return 2
    command = [sys.executable, "-m", "tests.recorded", "record-part", str(out)]
    quiet = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    children = {one: subprocess.Popen([*command, one], env=quiet) for one in parts}
    failed = [part for part, child in children.items() if child.wait()]
    for part in parts:
        figures = out / FIGURES / f"{part}.json"
        said = " ".join(figures.read_text("utf-8").split()) if figures.exists() else "no recording"
        sys.stdout.write(f"{part}: {said}\n")
    return int(bool(failed))


def compare(
    before: Path, after: Path, parts: Sequence[str], allowed: Mapping[str, str]
) -> list[str]:
    """What differs, a text for each recording; nothing of those that may."""
    first, second = (_recordings(folder, parts) for folder in (before, after))
    if not first:
        return [f"{before}: expected recordings of {', '.join(parts)}, found none"]
    found = []
    for name in sorted({*first, *second}):
        if any(fnmatchcase(name, one) for one in allowed):
            continue
        if name not in first or name not in second:
            found.append(f"{name}: only in {before if name in first else after}")
        elif first[name].read_bytes() != second[name].read_bytes():
            found.append(difference(name, first[name].read_bytes(), second[name].read_bytes()))
    return found


def _recordings(folder: Path, parts: Sequence[str]) -> dict[str, Path]:
    files = (one for part in parts for one in (folder / part).rglob("*") if one.is_file())
    return {one.relative_to(folder).as_posix(): one for one in files}


def difference(name: str, before: bytes, after: bytes) -> str:
    """A diff of two recordings, of some lines; of bytes that are no text, that they differ."""
    try:
        old, new = (content.decode().splitlines() for content in (before, after))
    except UnicodeDecodeError:
        return f"{name}: other bytes ({len(before)} before, {len(after)} after)"
    lines = [*difflib.unified_diff(old, new, f"before/{name}", f"after/{name}", "", "", 0, "")]
    if not lines:
        return f"{name}: other ends of lines"
    left = len(lines) - MOST_LINES
    more = [f"... and {left} lines more"] if left > 0 else []
    return "\n".join([*(one[:WIDEST] for one in lines[:MOST_LINES]), *more])


def read_allowed(path: Path = ALLOWED) -> dict[str, str]:
    """Why recordings may differ, by their names; in one `*` is anything."""
    lines = tomllib.loads(path.read_text("utf-8")).get("allowed", [])
    return {one["recording"]: one["reason"] for one in lines}


def main() -> int:
    """Do what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.recorded", description=__doc__)
    acts = parser.add_subparsers(dest="act", required=True)
    for act, folders in (("record", ["out"]), ("record-part", ["out"]),
                         ("compare", ["before", "after"])):  # fmt: skip
        words = acts.add_parser(act)
        for folder in folders:
            words.add_argument(folder, type=Path, metavar=folder.upper())
        words.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    asked = parser.parse_args()
    if odd := {*asked.parts} - {*PARTS}:
        parser.error(f"expected parts of {', '.join(PARTS)}, found {', '.join(sorted(odd))}")
    parts = asked.parts or [*PARTS]
    if asked.act == "record":
        return record(asked.out, parts)
    if asked.act == "record-part":
        record_part(asked.out, parts[0])
        return 0
    found = compare(asked.before, asked.after, parts, read_allowed())
    sys.stdout.writelines(f"{one}\n" for one in found or ["nothing differs"])
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
