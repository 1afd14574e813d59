"""Transcripts in a browser: what they hold, the file, and the project's own verification."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.homes.consoles import Browser, ConsoleBench, coordinator_desk
from tests.support.homes.keyed_coordinators import KeyedCoordinator
from tests.support.runs.written_runs import RUN, WrittenRun, base

from fieldfare.server.console import transcripts_page
from fieldfare.server.console.place import CoordinatorPlace
from fieldfare.server.store.rows import RunStatus
from fieldfare.shared.audit.audit import audit
from fieldfare.shared.audit.opening import Trust
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.console.shield import PageRefusal
from fieldfare.shared.protocol.roster import ROSTER_SIGNER
from fieldfare.shared.transcript.leaves import Leaf, LeafKind, tree_head

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def written() -> WrittenRun:
    return WrittenRun(base()).finish()


def kept(keyed: KeyedCoordinator, written: WrittenRun, *, signed: bool = True) -> None:
    """A finished run in a coordinator's store, under the roster key that signed its roster."""
    keyed.home.roster_public.write_text(written.public(ROSTER_SIGNER))
    study = written.study.id
    with keyed.store() as store:
        store.create(RUN, study, NOW)
        blobs = {name: written.blobs[name] for name in written.summed}
        store.append(RUN, written.leaves, blobs=blobs)
        store.set_state(RUN, RunStatus.FINISHED, "", NOW)
        if signed:
            head = tree_head(study, RUN, [leaf.hash for leaf in written.leaves])
            store.put_head(RUN, written.signed(head), head.size)


def one_more_leaf(keyed: KeyedCoordinator) -> None:
    """A leaf after the end that was signed."""
    with keyed.store() as store:
        store.append(RUN, [Leaf(LeafKind.REPLY, b"changed")])


def test_what_a_transcript_holds_and_its_file(
    keyed: KeyedCoordinator, watching: Browser, written: WrittenRun
) -> None:
    assert "No run has a transcript yet" in watching.shown("/transcripts")
    kept(keyed, written)
    assert RUN in watching.shown("/transcripts")
    text = " ".join(watching.shown(f"/transcripts/{RUN}").split())
    assert f"reply {sum(one.kind is LeafKind.REPLY for one in written.leaves)}, sum" in text
    assert f"{len(written.leaves)} of {len(written.leaves)} leaves" in text
    answer = watching.get(f"/transcripts/{RUN}/file")
    assert answer.headers["content-disposition"] == f'attachment; filename="{RUN}.jsonl"'
    assert answer.content == written.to_bytes()
    report = audit(io.BytesIO(answer.content), Trust(written.public(ROSTER_SIGNER)))
    assert report.misfit is None
    assert list(keyed.home.path.glob("transcript-*")) == []


def test_verify_runs_the_projects_own_and_stands_in_the_log(
    keyed: KeyedCoordinator, watching: Browser, written: WrittenRun
) -> None:
    kept(keyed, written)
    page = f"/transcripts/{RUN}"
    answer = watching.fill(f"{page}/verify", page=page)
    assert (answer.status_code, answer.headers["location"]) == (303, page)
    text = " ".join(watching.shown(page).split())
    assert (
        "too few institutions signed the end of this log. Requested by otto" in text
    )  # nobody co-signed this one
    assert f"Sums {written.state.sums} Of them added up again, bit for bit" in text
    assert "Model" in text
    assert "Because" not in text
    assert "bank-a" in text
    line = json.loads(keyed.home.decisions.read_text().splitlines()[-1])
    assert (line["act"], line["person"], line["run"]) == ("transcript verified", "otto", RUN)
    assert line["verdict"] == "not_cosigned"


def test_what_does_not_fit_is_named(
    keyed: KeyedCoordinator, watching: Browser, written: WrittenRun
) -> None:
    """Somebody wrote a leaf into the store, and moved the head: no signature covers that."""
    kept(keyed, written, signed=False)
    one_more_leaf(keyed)
    with keyed.store() as store:
        head = tree_head(written.study.id, RUN, [leaf.hash for leaf in written.leaves])
        store.put_head(RUN, written.signed(head), head.size + 1)
    page = f"/transcripts/{RUN}"
    watching.fill(f"{page}/verify", page=page)
    text = " ".join(watching.shown(page).split())
    assert "Does not fit." in text
    assert "What does not fit" in text


def test_a_log_that_goes_on_has_no_file(
    keyed: KeyedCoordinator, watching: Browser, written: WrittenRun
) -> None:
    kept(keyed, written)
    one_more_leaf(keyed)
    page = f"/transcripts/{RUN}"
    assert "Verify it" not in watching.shown(page)
    for answer in (watching.get(f"{page}/file"), watching.fill(f"{page}/verify", page="/")):
        assert answer.status_code == 400
        assert "expected a log that was signed to its end" in answer.text


def test_only_one_at_a_time_and_not_for_ever(
    keyed: KeyedCoordinator,
    console: ConsoleBench,
    watching: Browser,
    written: WrittenRun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept(keyed, written)
    left = keyed.home.path / "transcript-left"
    left.mkdir()
    monkeypatch.setattr(transcripts_page, "SECONDS", -1.0)
    answer = watching.get(f"/transcripts/{RUN}/file")
    assert answer.status_code == 503
    assert "was ended" in answer.text
    assert not left.exists()
    desk = transcripts_page.TranscriptDesk(
        CoordinatorPlace(keyed.home.path, keyed.home.path, console.book)
    )
    desk._one.acquire()
    with pytest.raises(PageRefusal, match="Another transcript"), desk.written(RUN):
        pass


def test_an_examiner_reads_the_outcome_and_verifies_nothing(
    keyed: KeyedCoordinator, console: ConsoleBench, written: WrittenRun
) -> None:
    kept(keyed, written)
    edda = Browser(coordinator_desk(keyed.home, console))
    console.log_in(edda, console.enrolled("edda", ConsoleRole.EXAMINER))
    page = f"/transcripts/{RUN}"
    assert "Verify it" not in edda.shown(page)
    assert edda.get(f"{page}/file").content == written.to_bytes()
    assert edda.fill(f"{page}/verify", page="/").status_code == 403


def test_no_text_of_a_report_runs(watching: Browser) -> None:
    odd = {
        "verdict": "does_not_fit",
        "misfit": {"kind": SCRIPT, "institution": SCRIPT, "reason": SCRIPT}
        | dict.fromkeys(("line", "leaf", "step"), 1),
        "name": SCRIPT,
        "institutions": {SCRIPT: {"releases": 1, "epsilon": 0.123456, "cosigned_leaves": None}},
    }
    found = transcripts_page._verdict(json.dumps(odd).encode(), b"", "otto")
    assert found.institutions == ((SCRIPT, "1", "0.1235", "0"),)
    assert not found.good
    trouble = transcripts_page._verdict(b"", f"first\n{SCRIPT}\x1b[31m\n".encode(), "otto")
    assert trouble.lines == (("not verified", f"{SCRIPT} [31m"),)


@pytest.mark.parametrize("run", ["none", "..%2f..%2fkeys", "%3Cscript%3E", "-c", "{{7*7}}"])
@pytest.mark.parametrize("after", ["", "/file"])
def test_odd_runs_are_errors_that_are_pages(watching: Browser, run: str, after: str) -> None:
    answer = watching.get(f"/transcripts/{run}{after}")
    assert answer.status_code in {400, 404}
    assert "<h1>" in answer.text
    assert "<script>" not in answer.text


def test_the_file_of_the_store_is_not_written(
    keyed: KeyedCoordinator, watching: Browser, written: WrittenRun
) -> None:
    kept(keyed, written)
    before = Path(keyed.home.runs_database).read_bytes()
    watching.get(f"/transcripts/{RUN}/file")
    assert Path(keyed.home.runs_database).read_bytes() == before
