"""Attack L12: whatever the umask, no other user may change a file or folder that a command makes.

What holds records, decisions or keys nobody else may read either.
"""

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.support.homes.institutions import Coordinator
from tests.support.records.imports import SAMPLES

from fieldfare.shared.cli.root import main
from fieldfare.shared.watch.shipped import SHIPPED

OTHERS: Final = 0o077
WRITE_BY_OTHERS: Final = 0o022
NODES: Final = "home/run"  # of the socket, which the node's user reaches by a group
# Commands that write files, with what each is called, and whether others may read what it makes.
WRITERS: Final = {
    "watch files --out {new}/watch": True,
    "software node --out {new}/lock.txt": True,
    "typologies run --sql spark --as-of 2026-01-01 --out {new}/all.sql": True,
    "institution records import {paysim} --from paysim --key-file {new}/key --out {new}/own": False,
    "institution init --id bank-m --home {new}/home": False,
    "coordinator init Hub --address hub.example.org:8443 --home {new}/hub": False,
    "recovery key {new}/recovery": False,
    "institution roster vouch --out {new}/vouching --home {home}": False,
    "records assemble --features {records} --labels {labels} --unit customer --label case "
    "--label-column case --others 0 --known-always --as-of 2026-01-01 "
    "--out {new}/all.parquet": False,
}


def written_under(umask: int, words: list[str]) -> int:
    """Return the status of `fieldfare WORDS` in a process with that umask."""
    pid = os.fork()
    if pid == 0:
        status = 255
        try:
            os.umask(umask)
            os.dup2(os.open(os.devnull, os.O_RDWR), 0)
            sys.argv = ["fieldfare", *words]
            main()
        except SystemExit as leave:
            status = leave.code if isinstance(leave.code, int) else 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def modes_in(folder: Path) -> Iterator[tuple[str, int]]:
    for path in sorted(folder.rglob("*")):
        found = path.lstat()
        if not stat.S_ISLNK(found.st_mode):
            yield str(path.relative_to(folder)), stat.S_IMODE(found.st_mode)


@pytest.mark.parametrize("call", WRITERS)
def test_others_change_nothing_that_a_command_makes(
    coordinator: Coordinator, tmp_path: Path, call: str
) -> None:
    home = next(iter(coordinator.homes.values()))
    (tmp_path / "new").mkdir()
    given = {
        "new": tmp_path / "new", "home": home.path, "records": home.path / "records.csv",
        "paysim": SAMPLES / "paysim.csv", "labels": tmp_path / "labels.csv",
    }  # fmt: skip
    (tmp_path / "labels.csv").write_text("customer,case\nbank-a-1,1\n")
    assert written_under(0, [one.format(**given) for one in call.split()]) == 0
    made = dict(modes_in(tmp_path / "new"))
    assert made
    assert {name: oct(mode) for name, mode in made.items() if mode & WRITE_BY_OTHERS} == {}
    public = WRITERS[call] or {".pub", ".json", ".txt", ".sha256"}
    closed = {
        name: oct(mode) for name, mode in made.items()
        if mode & OTHERS and public is not True and Path(name).suffix not in public
        and name != NODES
    }  # fmt: skip
    assert closed == {}


@pytest.mark.parametrize("umask", [0, 0o077])
def test_rules_may_be_read_by_all_and_changed_by_their_owner(tmp_path: Path, umask: int) -> None:
    out = tmp_path / "above" / "watch"
    assert written_under(umask, ["watch", "files", "--out", str(out)]) == 0
    made = dict(modes_in(tmp_path))
    assert {made[f"above/watch/{name}"] for name in SHIPPED} == {0o644}
    assert {made["above"], made["above/watch"]} == {0o755}


def test_imported_records_are_their_owners_alone(tmp_path: Path) -> None:
    """Nobody reaches them in their folder; a file that somebody moves out keeps its mode."""
    words = ["institution", "records", "import", str(SAMPLES / "paysim.csv"), "--from", "paysim"]
    key = ["--key-file", str(tmp_path / "key"), "--out", str(tmp_path / "own")]
    assert written_under(0, [*words, *key]) == 0
    assert {mode for _, mode in modes_in(tmp_path / "own")} == {0o600}
