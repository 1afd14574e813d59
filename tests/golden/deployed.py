"""Record the kept transcripts anew: runs of real processes, four banks and a coordinator.

    python -m tests.golden.deployed FOLDER

Keys and noise are the operating system's, so every recording is another one. From the first release
on the kept ones are never replaced, because an auditor's program has to go on reading what was
written before: this file says how they came to be, and makes more of them.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tests.support.federations.beds import small_bed
from tests.support.federations.outages import RUN, begin, kill, process, resume, until_step
from tests.support.system.processes import tree

from fieldfare.simulations.demo.testbed import COORDINATOR, Bed

BANKS: Final = ("bank-a", "bank-b", "bank-c", "bank-d")
LAST: Final = BANKS[-1]
DEADLINE: Final = 15.0  # seconds: whoever is gone misses it
QUESTIONS: Final = """
[[evaluation.groups]]
column = "age_band"
levels = ["18-24", "25+"]

[[queries]]
name = "amounts"
kind = "histogram"
column = "amount"
bins = 4

[[queries]]
name = "reported by channel"
kind = "group_by"
by = ["channel"]
where = [{ column = "reported", levels = ["1"] }]
"""


def add_ages(path: Path, *, seed: int) -> None:
    """Put a column beside a bank's records that is counted for fairness, and no feature."""
    table = pq.read_table(path)
    drawn = np.random.default_rng(seed).integers(0, 4, table.num_rows)
    ages = pa.array(["18-24", "25+", "old", None]).take(pa.array(drawn))
    pq.write_table(table.append_column("age_band", ages), path)


def training(bed: Bed) -> str:
    """A run that trains and evaluates; nothing happens to it."""
    run = begin(bed, "training", steps=4)
    bed.until_ended(run)
    return run


def questions(bed: Bed) -> str:
    """A run that trains two steps, counts alerts by group and answers two questions."""
    run = begin(bed, "questions", steps=2, more=QUESTIONS)
    bed.until_ended(run)
    return run


def resumed(bed: Bed) -> str:
    """A run that loses a bank for good, in a failed attempt, and then its own process."""
    run = begin(bed, "resumed", deadline=DEADLINE, steps=8)
    until_step(bed, run, 2)
    kill(*tree(bed.pid(LAST)))
    bed.stop_one(LAST)
    until_step(bed, run, 4)
    kill(process(bed, COORDINATOR, RUN))
    resume(bed, run)
    bed.until_ended(run)
    return run


def keep(bed: Bed, run: str, folder: Path) -> None:
    """Keep a transcript, the roster that its auditor trusts, and what the audit says."""
    folder.mkdir(parents=True)
    transcript = bed.transcript(run)
    (folder / "run.transcript").write_bytes(transcript.read_bytes())
    (folder / "roster.signed").write_bytes((bed.coordinator_home / "roster.signed").read_bytes())
    said = json.dumps(bed.audit(transcript, "enough"), indent=2)
    (folder / "audit.json").write_text(said + "\n", "utf-8")


def main(out: Path) -> None:
    """Record one of each."""
    with TemporaryDirectory(prefix="fieldfare-golden-") as folder:
        bed = small_bed(Path(folder), names=BANKS)
        for seed, path in enumerate(bed.records.values()):
            add_ages(path, seed=seed)
        bed.study.write_text(bed.study.read_text() + QUESTIONS)  # policies allow what it needs
        bed.found()
        bed.start()
        try:
            for recorded in (training, questions, resumed):
                keep(bed, recorded(bed), out / recorded.__name__)
        finally:
            bed.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
