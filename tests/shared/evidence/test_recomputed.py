import io
from pathlib import Path

import pytest

from fieldfare.shared.audit.opening import Trust
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.evidence.recomputed import recomputed_run
from fieldfare.shared.protocol.signed_files import read_roster

KEPT = Path(__file__).parents[2] / "golden" / "transcripts" / "training"


@pytest.fixture
def trust() -> Trust:
    return Trust.in_roster(read_roster(KEPT / "roster.signed"))


def test_a_run_is_recomputed(trust: Trust) -> None:
    with (KEPT / "run.transcript").open("rb") as file:
        found = recomputed_run(file, trust)
    assert found.report.misfit is None
    assert found.roster == trust.roster
    assert set(found.spent_by) == set(found.report.participants)
    assert found.papers["roster.signed"] == read_roster(KEPT / "roster.signed")
    assert len(bytes.fromhex(found.root)) == 32


def test_no_pack_is_made_of_a_transcript_that_does_not_fit(trust: Trust) -> None:
    content = bytearray((KEPT / "run.transcript").read_bytes())
    content[len(content) // 2] ^= 1
    with pytest.raises(ProtocolError, match="expected a transcript that fits, found at line"):
        recomputed_run(io.BytesIO(bytes(content)), trust)
