"""Results of benches as files in `bench/`: one writer, one reader, and the page made from them.

    python -m tests.benchmarks.kept.results

writes `bench/README.md` anew. `bench/NAME.jsonl` is the last kept run of a bench: a line on when,
what and where, a line for each promise, the words for people, and all figures.
"""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.kept.machine import ROOT, commit, machine

FORMAT: Final = 1
KEPT: Final = ROOT / "bench"
PAGE: Final = "README.md"
ROW: Final = ("what", "measured", "promised", "holds")
HEAD: Final = """\
# Figures

Written by `python -m tests.benchmarks.kept.results` from the files beside it, which
`make bench`, `make bench-large` and `make bench-flames` write: when, on which machine,
beside how much other work (load: processes that wanted a core in the minute before a bench
ended), what was promised, and every figure. What they mean is in
[docs/scale.md](../docs/scale.md) and [docs/engines.md](../docs/engines.md).
"""


@dataclass(frozen=True)
class KeptRun:
    """A run of a bench that is kept.

    Attributes:
        bench: its name.
        command: as it was typed.
        date: when it ended, UTC.
        commit: of the sources; a + where files differed from it.
        load: processes that wanted a core, over the last minute before it ended.
        machine: as `machine` returns it.
        rows: what, measured, promised, holds.
        words: lines for people.
        figures: what the bench returned.
    """

    bench: str
    command: str
    date: str
    commit: str
    load: float
    machine: dict[str, Any]
    rows: list[tuple[str, str, str, bool]]
    words: list[str]
    figures: Any


def keep(
    bench: str,
    figures: Any,
    rows: Sequence[tuple[str, str, str, bool]],
    words: Iterable[str] = (),
    *,
    command: str = "",
    folder: Path = KEPT,
) -> Path:
    """Write a run in place of the one that was kept before, and the page; returns its file."""
    run = KeptRun(
        bench=bench,
        command=command or " ".join(["python", "-m", _module(), *sys.argv[1:]]),
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        commit=commit(),
        load=round(os.getloadavg()[0], 1),
        machine=machine(),
        rows=[(what, measured, promised, holds) for what, measured, promised, holds in rows],
        words=list(words),
        figures=figures,
    )
    folder.mkdir(exist_ok=True)
    file = folder / f"{bench}.jsonl"
    file.write_text(_lines(run), encoding="utf-8")
    (folder / PAGE).write_text(page(folder), encoding="utf-8")
    return file


def _module() -> str:
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec else "?"


def _lines(run: KeptRun) -> str:
    whole = asdict(run)
    rows, words, figures = (whole.pop(name) for name in ("rows", "words", "figures"))
    promised = [
        dict(zip(("what", "measured", "promised", "holds"), row, strict=True)) for row in rows
    ]
    made = [{"format": FORMAT, **whole}, *promised, {"words": words}, {"figures": figures}]
    return "".join(json.dumps(one) + "\n" for one in made)


def read(file: Path) -> KeptRun:
    """Return a run that was kept.

    Raises:
        ValueError: another format.
    """
    head, *rows, words, figures = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    if head.pop("format") != FORMAT:
        raise ValueError(f"{file}: expected format {FORMAT}, found another")
    promised = [(row["what"], row["measured"], row["promised"], row["holds"]) for row in rows]
    return KeptRun(**head, rows=promised, words=words["words"], figures=figures["figures"])


def page(folder: Path = KEPT) -> str:
    """Return what `bench/README.md` says of the kept runs."""
    runs = [read(file) for file in sorted(folder.glob("*.jsonl"))]
    return HEAD + "".join(_section(run) for run in runs)


def _section(run: KeptRun) -> str:
    facts = dict(run.machine)
    where = f"{facts.pop('processor')}, {facts.pop('cores')} cores, "
    where += f"{facts.pop('memory_gigabytes')} GiB, Linux {facts.pop('kernel')}"
    libraries = ", ".join(f"{name} {value}" for name, value in facts.items())
    lines = [
        f"\n## {run.bench}\n",
        f"`{run.command}`, {run.date}, commit {run.commit or 'unknown'}, load {run.load:g}.",
        f"{where}; {libraries}.\n",
    ]
    if run.rows:
        lines += ["| what | measured | promised | holds |", "|---|---|---|---|"]
        lines += [
            f"| {what} | {measured} | {promised} | {'yes' if holds else '**no**'} |"
            for what, measured, promised, holds in run.rows
        ]
    if run.words:
        lines += ["", *(f"    {line}".rstrip() for line in run.words)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (KEPT / PAGE).write_text(page(), encoding="utf-8")
