"""Record homes of a version: what its wheel makes, for every later version to open.

    python -m tests.operation.upgrade.record COMMIT

The commit's wheel is built from the history, and its commands make a coordinator and three banks,
train a study, score with it, and back up. The bytes are other ones each time, because keys and
noise are the operating system's: recorded once for a version, and never replaced once that is
released.
"""

import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from tests.support.federations.beds import delivered, small_bed
from tests.support.system.earlier import ROOT, earlier_version

from fieldfare.simulations.demo.testbed import COORDINATOR, Bed, Command

KEPT: Final = Path(__file__).parent / "recorded"
BANK: Final = "bank-a"
BAD_INPUT: Final = 2
RENAMED: Final = {  # commands as they begin now, and as they began at ca71956f
    ("institution", "roster", "--json"): ("institution", "roster", "code", "--json"),
    ("institution", "act"): ("institution", "alert", "act"),
    ("institution", "verify", "ledger"): ("institution", "ledger", "verify"),
    ("coordinator", "export", "transcript"): ("coordinator", "transcript", "export"),
}
NOTICES: Final = """\
format = 1

[[webhook]]
name = "tickets"
url = "http://127.0.0.1:9/nobody"
secret_file = "keys/tickets-hook"
"""
PACKED: Final = (
    COORDINATOR,
    BANK,
    f"{BANK}.backup",
    "coordinator.backup",
    "recovery.key",
    "run.transcript",
)


def bed_of(program: Path, folder: Path) -> Bed:
    """A bed of small banks whose every command and process is `program`."""
    bed = small_bed(folder)
    bed.command, bed.program = spelled_for(program), program
    return bed


def spelled_for(program: Path) -> Command:
    """Type commands as this version spells them, and else as `program` did when it was built."""

    def typed(words: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [program, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def command(words: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        done, earlier = typed(words), _spell_earlier(words)
        return typed(earlier) if done.returncode == BAD_INPUT and earlier != [*words] else done

    return command


def _spell_earlier(words: Sequence[str]) -> list[str]:
    """Spell a command as ca71956f did."""
    party = COORDINATOR if home_in(words) == COORDINATOR else "institution"
    match words:
        case ["institution", "roster", "compare", reader, "--how", "meeting", *rest]:
            return ["institution", "roster", "meeting", "--reader", reader, *rest]
        case ["recovery", "take", *rest] if party == COORDINATOR:
            return [party, "recovery", *rest]
        case ["recovery", "take", *rest]:
            return [party, "keys", "recovery", *rest]
        case ["backup" | "console" | "notices", *_]:  # of both parties since, by their home
            return [party, *words]
    for now, before in RENAMED.items():
        if tuple(words[: len(now)]) == now:
            return [*before, *words[len(now) :]]
    return [*words]


def home_in(words: Sequence[str]) -> str:
    """The name of the home that a command names; the coordinator's where it names none."""
    return Path(words[words.index("--home") + 1]).name if "--home" in words else COORDINATOR


def live(bed: Bed) -> None:
    """Found a federation, and do once whatever leaves a file of its own in a home."""
    bed.found()
    homes = (bed.coordinator_home, bed.home(BANK))
    bed.fieldfare("recovery", "key", str(bed.folder / "recovery.key"))
    public = str(bed.folder / "recovery.key.pub")
    for home in homes:
        bed.fieldfare("recovery", "take", public, "--home", str(home))
    for home in homes:
        (home / "keys" / "tickets-hook").write_text("a secret of nobody's, of 32 or more bytes\n")
        (home / "keys" / "tickets-hook").chmod(0o600)
        (home / "notices.toml").write_text(NOTICES)
        (home / "notices.toml").chmod(0o600)
    add, (hub, bank) = ("console", "account", "add"), (("--home", str(home)) for home in homes)
    bed.fieldfare(*add, "anna", "--role", "analyst", *bank)
    bed.institution(BANK, "desk", "person", "add", "otto")
    bed.fieldfare(*add, "lena", "--role", "operator", *hub)
    bed.start()
    try:
        run = bed.run(bed.agree())
        row = bed.until_ended(run)
        if row.reason:
            raise SystemExit(row.reason)
        bed.until(lambda: run in delivered(bed, BANK), "the model at the bank")
        bed.offer_another(bed.folder / "again.toml")
        bed.fieldfare("backup", str(bed.folder / "coordinator.backup"), *hub)
        after_a_run(bed, run)
    finally:
        bed.stop()
    shutil.move(bed.transcript(run), bed.folder / "run.transcript")


def after_a_run(bed: Bed, run: str) -> None:
    """What a bank's people do with a model."""
    bed.institution(BANK, "score", "--model", run, "--out", str(bed.folder / "ranked.parquet"))
    first = json.loads(bed.institution(BANK, "alerts", "--json"))[0]["alert"]
    bed.institution(BANK, "act", first, "comment", "--note", "rang the branch")
    bed.institution(BANK, "tune", "--model", run)
    bed.institution(BANK, "evaluate", "--model", run)
    bed.institution(BANK, "records", "check", str(bed.study))
    bed.fieldfare("backup", str(bed.folder / f"{BANK}.backup"), "--home", str(bed.home(BANK)))


def pack(folder: Path, to: Path) -> None:
    """Write what is kept, in one order, without owners and times; no sockets."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if not (member.isreg() or member.isdir()):
            return None
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        return member

    with tarfile.open(to, "w:xz", format=tarfile.PAX_FORMAT, preset=9) as archive:
        for name in PACKED:
            archive.add(folder / name, name, filter=plain)
        records = (folder.parent / f"{BANK}.parquet").read_bytes()
        member = tarfile.TarInfo(f"{BANK}.parquet")
        member.size = len(records)
        archive.addfile(member, io.BytesIO(records))


def main(commit: str) -> None:
    """Record a commit's homes."""
    whole = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", f"{commit}^{{commit}}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    folder = Path(mkdtemp(prefix="ff-"))  # sockets lie below it
    try:
        record(whole, folder)
    finally:
        shutil.rmtree(folder)


def record(whole: str, folder: Path) -> None:
    """Record the homes of a commit, named in full, in a folder that is thrown away."""
    bed = bed_of(earlier_version(whole, folder / "earlier"), folder)
    live(bed)
    KEPT.mkdir(exist_ok=True)
    version = bed.fieldfare("--version").split()[-1]
    pack(bed.folder, KEPT / f"{version}.tar.xz")
    said = {
        "commit": whole,
        "version": version,
        "recorded": datetime.now(UTC).isoformat(timespec="seconds"),
        "folder": str(bed.folder),
    }
    (KEPT / f"{version}.json").write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
