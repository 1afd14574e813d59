"""Worker processes: the same bytes, killed in the middle too; they hold parts and nothing else."""

import gc
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from tests.client.sums.conftest import Whole
from tests.support.runs.every_release import every_release
from tests.support.system.processes import alive, listening, until

from fieldfare.client.sums import local_workers
from fieldfare.client.sums.local_workers import LocalWorkers
from fieldfare.client.sums.partitioned_sums import PartitionedSums, Workplace
from fieldfare.client.sums.partitions import part_sum
from fieldfare.client.sums.spilled import spill
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.errors import PolicyRefusal, RunError
from fieldfare.shared.protocol.messages import ReleaseKind

pytestmark = pytest.mark.faults  # processes


def workers_of(sums: object) -> LocalWorkers:
    assert isinstance(sums, PartitionedSums)
    assert isinstance(sums.partitions, LocalWorkers)
    return sums.partitions


def test_workers_give_the_same_bytes_are_alone_and_are_repeated(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "marker-of-a-secret")
    study, units = whole("groups")
    one = StudySums.prepare(study, units.data, units.holdout, units.asked)
    sums = units.sums(study, Workplace(tmp_path / "spill", workers=2))
    local = workers_of(sums)
    assert local.processes == []  # none before the first sum
    with socket.create_server(("127.0.0.1", 0)), (tmp_path / "ledger").open("wb"):
        for asked in every_release(study, one):
            assert part_sum(sums, asked).tobytes() == part_sum(one, asked).tobytes()
    first = local.processes
    assert len(first) == 2
    for pid in first:
        assert listening(pid) == set()
        held = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
        assert not [name for name in held if name.startswith("socket:") or "ledger" in name]
        assert b"marker-of-a-secret" not in Path(f"/proc/{pid}/environ").read_bytes()
        os.kill(pid, signal.SIGKILL)
    for asked in every_release(study, one):
        assert part_sum(sums, asked).tobytes() == part_sum(one, asked).tobytes()
    assert not set(local.processes) & set(first)
    with pytest.raises(PolicyRefusal, match="rehearsal sums no records"):
        sums.vector(ReleaseKind.REHEARSAL, np.zeros(1))
    (last, _) = local.processes
    del sums, local
    gc.collect()
    until(lambda: not alive(last))


def test_a_worker_killed_in_the_middle_of_a_sum_is_repeated(whole: Whole, tmp_path: Path) -> None:
    study, units = whole("plain")
    one = StudySums.prepare(study, units.data, units.holdout)
    local = workers_of(units.sums(study, Workplace(tmp_path / "spill", workers=2)))
    asked = next(every_release(study, one))
    local.added(asked)
    before = local.processes
    os.kill(before[0], signal.SIGSTOP)  # in the middle: it has not answered yet
    found: list[bytes] = []
    summing = threading.Thread(target=lambda: found.append(local.added(asked).tobytes()))
    summing.start()
    time.sleep(0.2)
    assert summing.is_alive()
    os.kill(before[0], signal.SIGKILL)
    summing.join(60)
    assert found == [part_sum(one, asked).tobytes()]
    assert local.processes[0] != before[0]
    assert local.processes[1] == before[1]
    local.close()


def test_a_worker_that_always_dies_is_told(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, units = whole("plain")
    local = workers_of(units.sums(study, Workplace(tmp_path / "spill", workers=2)))
    monkeypatch.setattr(local_workers, "PROCESS", "fieldfare.no_such_module")
    asked = next(every_release(study, StudySums.prepare(study, units.data, units.holdout)))
    with pytest.raises(RunError, match=r"found 3 in a row that died.*\[partitions\]"):
        local.added(asked)
    assert local.processes == []
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(RunError, match="expected a worker to start, found: No such file"):
        local.added(asked)
    assert local.processes == []


def test_a_defect_of_a_worker_is_told_by_its_type_alone(
    whole: Whole, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_workers, "MOST_DEATHS", 1)
    study, units = whole("plain")
    wrong = study.model_copy(update={"name": "marker of what is never told"})
    files = [spill(part, tmp_path / "spill") for part in units.cut(study, 1)]
    local = LocalWorkers(wrong, files, workers=1, memory=1 << 20)
    asked = next(every_release(study, StudySums.prepare(study, units.data, units.holdout)))
    with pytest.raises(RunError, match="found 1 in a row"):
        local.added(asked)
    told = capfd.readouterr().err
    assert told == "a worker that adds records up failed: ValidationError\n"


CUSTODIAN = """
    import os, sys, time
    from pathlib import Path
    import numpy as np
    from fieldfare.client.sums.partitioned_sums import WholeUnits, Workplace
    from fieldfare.shared.features.basis import EncodedUnits
    from fieldfare.shared.protocol.messages import ReleaseKind
    from fieldfare.shared.study.study import Study
    study = Study.model_validate_json(sys.argv[1])
    none = np.zeros(500, np.uint8)
    units = EncodedUnits(np.zeros((len(study.features), 500), np.uint16), none)
    order = np.arange(500, dtype=np.uint64) << np.uint64(55)
    sums = WholeUnits(units, none > 0, order).sums(study, Workplace(Path(sys.argv[2]), workers=2))
    sums.vector(ReleaseKind.TRAINING, np.zeros(sums.gradients.entries))
    print(*sums.partitions.processes, flush=True)
    time.sleep(60)
"""


def test_workers_die_with_a_custodian_that_was_killed(whole: Whole, tmp_path: Path) -> None:
    study, _ = whole("plain")
    folder = tmp_path / "spill"
    code = textwrap.dedent(CUSTODIAN)
    command = [sys.executable, "-c", code, study.canonical().decode(), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as custodian:
        assert custodian.stdout is not None
        workers = [int(pid) for pid in custodian.stdout.readline().split()]
        assert len(workers) == 2
        custodian.kill()
    until(lambda: not any(map(alive, workers)))
    assert list(folder.iterdir()) == []


# In Python's place: the first process sends what is no reply, and waits; later ones are Python.
GARBLING: Final = """\
#!/bin/sh
for out; do :; done
if mkdir "$0.was" 2>/dev/null; then
    exec 3>"/proc/self/fd/$out" && mkdir "$0.open" && {garbled} >&3
    cat
fi
exec {python} "$@"
"""
# Each is a length of four bytes (`multiprocessing.connection`) and so many.
GARBLED: Final = {
    "no frame": r"printf '\0\0\0\3abc'",
    "another frame": r"printf '\0\0\0\6\n\4\n\2ab'",
    "half a word": r"printf '\0\0\0\14\n\12\n\3sum\22\3abc'",
    "a code that is none": (
        r"printf '\0\0\0\43\n\n\n\6policy\22\0\n\12\n\4code\22\2no\n\11\n\5words\22\0'"
    ),
    "without end": r"printf '\177\377\377\377'",
}


@pytest.mark.parametrize("garbled", GARBLED)
def test_a_worker_that_sends_no_reply_is_ended_and_the_sum_begun_anew(
    garbled: str, whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, units = whole("plain")
    asked = next(every_release(study, one := StudySums.prepare(study, units.data, units.holdout)))
    broken = tmp_path / "python"
    broken.write_text(GARBLING.format(garbled=GARBLED[garbled], python=sys.executable))
    broken.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(broken))
    local = workers_of(units.sums(study, Workplace(tmp_path / "spill", workers=1, parts=2)))
    assert local.added(asked).tobytes() == part_sum(one, asked).tobytes()
    assert (tmp_path / "python.open").exists()
    local.close()
