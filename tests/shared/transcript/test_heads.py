"""A proof of two stories proves what it says, and nothing else is one."""

import pytest
from tests.support.runs.transcripts import Recorder

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.transcript.heads import SeenHead, TwoStories, two_stories
from fieldfare.shared.transcript.leaves import EndRecord, tree_head

LEAVES = [EndRecord(state="stopped", reason=str(at)).leaf().hash for at in range(7)]
OTHER = [*LEAVES[:2], bytes(32), *LEAVES[3:]]


def seen(recorded: Recorder, hashes: list[bytes], run: str = "run-1") -> SeenHead:
    head = recorded.signed(tree_head(recorded.bench.study.id, run, hashes))
    return SeenHead.of(head, hashes)


@pytest.mark.parametrize(("one", "other"), [(7, 7), (7, 3), (3, 7), (5, 6)])
def test_two_logs_of_which_none_is_the_others_beginning_are_proved(
    recorded: Recorder, one: int, other: int
) -> None:
    roster = recorded.bench.federation.identities.roster
    proof = two_stories(seen(recorded, LEAVES[:one]), seen(recorded, OTHER[:other]), roster)
    assert proof is not None
    again = TwoStories.from_bytes(proof.to_bytes())
    told = again.told(roster)
    assert (told.run, {told.first.size, told.second.size}) == ("run-1", {one, other})
    with pytest.raises(ProtocolError):
        again.told(roster.model_copy(update={"coordinator": "00" * 31 + "01"}))


@pytest.mark.parametrize(("one", "other"), [(7, 7), (3, 7), (7, 1), (0, 4)])
def test_a_log_that_grew_tells_one_story(recorded: Recorder, one: int, other: int) -> None:
    roster = recorded.bench.federation.identities.roster
    first, second = seen(recorded, LEAVES[:one]), seen(recorded, LEAVES[:other])
    assert two_stories(first, second, roster) is None
    assert two_stories(first, seen(recorded, OTHER, "run-2"), roster) is None
    for heads in ((first.head, second.head), (second.head, first.head)):
        for hashes in ("", first.hashes, second.hashes):
            with pytest.raises(ProtocolError):
                TwoStories(heads=heads, hashes=hashes).told(roster)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"format":1}'])
def test_what_is_no_head_or_proof_is_refused(content: bytes) -> None:
    for kind in (SeenHead, TwoStories):
        with pytest.raises(ProtocolError, match="found something else"):
            kind.from_bytes(content)
