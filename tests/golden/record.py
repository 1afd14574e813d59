"""Run the golden set, and keep or compare what it came to.

    python -m tests.golden.record [NAME ...] [--write] [--out FOLDER] [--beside FOLDER]

Prints each study with its hash and its seconds. `--write` writes tests/golden/golden.toml anew;
`--out` keeps the models and answers; `--beside` compares them, number by number, with those that an
earlier tree left on the same machine. Ends with 1 where something is not as golden.toml, or the
other folder, says.
"""

import argparse
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from tests.golden.kept import FILE, OF_A_MACHINE, differences, entry, machine, read, text_of
from tests.golden.studies import EVERY, Golden, Outcome, run


def main() -> int:
    """Run what was asked for."""
    asked = _arguments()
    entries, said = {}, []
    with TemporaryDirectory(prefix="fieldfare-golden-") as folder:
        for golden in _chosen(asked):
            began = time.monotonic()
            outcome = run(golden, Path(folder))
            entries[golden.name] = entry(golden, outcome)
            said += _compared(golden, outcome, asked.beside)
            _keep(golden, outcome, asked.out)
            _say(golden, entries[golden.name], time.monotonic() - began)
    if asked.write:
        FILE.write_text(text_of(entries if not asked.names else _kept() | entries), "utf-8")
    kept, here = _kept(), read().get("machine") == machine()
    for name, found in entries.items():
        said += [f"{name}: {one}" for one in differences(found, kept.get(name, {}), here=here)]
    sys.stdout.writelines(f"{line}\n" for line in said or ["as it was"])
    return int(bool(said))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.golden.record")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of studies; all by default")
    parser.add_argument("--write", action="store_true", help="write golden.toml anew")
    parser.add_argument("--out", type=Path, help="keep models and answers in a folder")
    parser.add_argument("--beside", type=Path, help="a folder of an earlier tree's --out")
    return parser.parse_args()


def _chosen(asked: argparse.Namespace) -> list[Golden]:
    """Return what to run: golden.toml names one machine, so on another its hashes are made anew."""
    moved = asked.write and read().get("machine") != machine()
    names = {*asked.names, *(OF_A_MACHINE if moved else ())}
    return [golden for golden in EVERY if not asked.names or golden.name in names]


def _kept() -> dict[str, Any]:
    found: dict[str, Any] = read()["studies"]
    return found


def _say(golden: Golden, found: dict[str, Any], seconds: float) -> None:
    digest = found.get("sha256") or found["sha256_on_machine"]
    sys.stdout.write(f"{golden.name:16}{digest}  {seconds:6.1f} s\n")
    sys.stdout.flush()


def _keep(golden: Golden, outcome: Outcome, out: Path | None) -> None:
    if out is not None:
        (out / golden.name).mkdir(parents=True, exist_ok=True)
        (out / golden.name / outcome.file).write_bytes(outcome.content)


def _compared(golden: Golden, outcome: Outcome, beside: Path | None) -> list[str]:
    """What is not byte for byte as an earlier tree left it, and by how much."""
    if beside is None:
        return []
    earlier = (beside / golden.name / outcome.file).read_bytes()
    if earlier == outcome.content:
        return []
    before = Outcome(outcome.study, outcome.file, earlier).parameters
    if before.shape != outcome.parameters.shape:
        return [f"{golden.name}: another number of parameters than {beside} holds"]
    most = np.abs(before - outcome.parameters).max(initial=0.0)
    return [f"{golden.name}: other bytes than {beside} holds; parameters differ by {most:g}"]


if __name__ == "__main__":
    sys.exit(main())
