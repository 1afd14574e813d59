"""Debian's litewitness signs our checkpoints: of a store, and of a federation at night."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.federations.beds import running, small_bed
from tests.support.homes.keyed_coordinators import KeyedCoordinator
from tests.support.network.witnesses import Litewitness, litewitness
from tests.support.system.ports import free_port

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import roster_public
from fieldfare.server.store.rows import RunStatus
from fieldfare.server.store.store import RunStore
from fieldfare.server.upkeep.publication import log_key
from fieldfare.server.upkeep.submission import ask_witness, poster
from fieldfare.shared.transcript.leaves import EndRecord
from fieldfare.shared.transcript.notes import SIGNED, NoteKey
from fieldfare.simulations.demo.testbed import COORDINATOR

NO_KEY = "403: it does not know this key"


@pytest.fixture(scope="module", params=["build_litewitness.sh", "fetch_torchwood.sh"])
def programs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian 13's sources with a fix of one word, and Debian's next package as it is."""
    folder = tmp_path_factory.mktemp("litewitness")
    subprocess.run(["bash", Path(__file__).with_name(request.param), folder], check=True)
    return folder


@pytest.fixture
def witness(programs: Path) -> Iterator[Litewitness]:
    with litewitness(Path(tempfile.mkdtemp(prefix="ff-")), free_port(), programs) as made:
        yield made


def settings(home: CoordinatorHome, witness: Litewitness) -> None:
    text = home.settings.read_text()
    home.settings.write_text(
        f"{text}\n[witnesses]\nrequired = 1\n[[witnesses.witness]]\n"
        f'url = "{witness.section.url}"\nkey = "{witness.key.text}"\n'
    )


def grown(keyed: KeyedCoordinator, store: RunStore, run: str) -> None:
    """Make a run longer by a leaf, and sign its head."""
    if not store.is_known(run):
        store.create(run, keyed.study.id, datetime.now(UTC))
    store.append(run, [EndRecord(state="stopped", reason="").leaf()])
    keyed.head_signer.sign(store, keyed.study.id, run, store.leaf_hashes(run))
    store.set_state(run, RunStatus.STOPPED, "", datetime.now(UTC))


@pytest.mark.faults
def test_the_packaged_program_verifies_our_checkpoint(keyed: KeyedCoordinator) -> None:
    key, post = log_key(keyed.home), poster()
    other = NoteKey(key.name, SIGNED, bytes.fromhex(roster_public(keyed.home)))
    folder = Path(tempfile.mkdtemp(prefix="ff-"))
    with litewitness(folder, free_port()) as packaged, keyed.store() as store:
        grown(keyed, store, "run-1")
        packaged.start()
        packaged.add(other)
        found = ask_witness(store, key.name, packaged.section, post)
        assert NO_KEY in found.trouble
        packaged.control("add-key", "-origin", key.name, "-key", key.text)
        found = ask_witness(store, key.name, packaged.section, post)
        # 0.4.3-3+b3 panics where it keeps what it has verified; a later one signs.
        assert found.cosigned == 1 or "persistTreeHead" in (folder / "log").read_text()


@pytest.mark.promises
def test_it_signs_a_log_that_grows_and_nothing_else(
    keyed: KeyedCoordinator, witness: Litewitness
) -> None:
    key, post = log_key(keyed.home), poster()
    witness.start()
    with keyed.store() as store:

        def grow(run: str) -> None:
            grown(keyed, store, run)

        def asked() -> tuple[int, str]:
            found = ask_witness(store, key.name, witness.section, post)
            return found.cosigned, found.trouble

        grow("a")
        # 404 is the standard's word of today, 403 that of litetlog 0.4.3.
        assert "404: it does not know the log" in asked()[1] or NO_KEY in asked()[1]
        witness.control("add-log", "-origin", key.name)
        other = NoteKey(key.name, SIGNED, bytes.fromhex(roster_public(keyed.home)))
        witness.control("add-key", "-origin", key.name, "-key", other.text)
        assert NO_KEY in asked()[1]
        witness.control("add-key", "-origin", key.name, "-key", key.text)
        assert asked() == (1, "")
        for size in range(2, 12):
            grow("b" if size % 3 else "a")
            assert asked() == (size, "")
        store._database.rows("DELETE FROM cosigned_heads")  # its answers were lost: 409
        for _ in range(3):
            grow("c")
        assert asked() == (14, "")
        witness.stop()
        grow("a")
        assert asked() == (14, "no connection, no valid certificate, or no HTTP answer")
        witness.start()
        assert asked() == (15, "")
        for trigger in ("head_log_UPDATE", "head_log_DELETE"):
            store._database.rows(f"DROP TRIGGER {trigger}")
        store._database.rows("DELETE FROM head_log WHERE position > 9")
        store._database.rows("DELETE FROM cosigned_heads")
        assert "it signed 15 heads, this home has 10: the home is behind" in asked()[1]
        for _ in range(6):
            grow("d")
        assert "422: it says that the log did not grow" in asked()[1]  # another history


@pytest.mark.promises
def test_a_federations_run_is_witnessed_while_it_is_there_and_after_it_was_away(
    tmp_path: Path, witness: Litewitness
) -> None:
    bed = small_bed(tmp_path, steps=3)
    home = CoordinatorHome(bed.coordinator_home)
    witness.start()
    with running(bed):
        witness.add(log_key(home))
        settings(home, witness)
        bed.stop_one(COORDINATOR)
        bed.start_coordinator()  # with the witnesses' process
        bed.until_connected()
        run = bed.run(bed.agree())
        bed.until(lambda: _signed(bed) > 0, "a witness's signature on the opening")
        witness.stop()
        row = bed.until_ended(run)  # a witness that is down stops no run
        assert (row.state, row.reason) == (RunStatus.FINISHED, "")
        witness.start()
        bed.coordinator("witnesses", "--ask")
        folder = tmp_path / "public"
        bed.coordinator("publish", run, "--out", str(folder))
        found = _audited(bed, folder, home, witness)
        assert found["verdict"] == "fits"
        assert list(found["witnessed"]["times"]) == [witness.name]
        moment = datetime.strptime(
            found["witnessed"]["times"][witness.name], "%Y-%m-%d %H:%M:%S UTC"
        ).replace(tzinfo=UTC)
        assert abs((datetime.now(UTC) - moment).total_seconds()) < 600


def _signed(bed: Any) -> int:
    found = json.loads(bed.coordinator("witnesses", "--json"))
    return int(min(one["signed_heads"] for one in found["witnesses"]))


def _audited(bed: Any, folder: Path, home: CoordinatorHome, witness: Litewitness) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        bed.fieldfare(
            *("audit", "transcript", str(folder / "run.transcript"), "--json"),
            *("--witnessed", str(folder / "run.witnessed"), "--witness", witness.key.text),
            *("--coordinator-key", roster_public(home), "--require-cosigned", "all"),
        )
    )
    return found
