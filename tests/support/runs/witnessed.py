"""Logs of heads over recorded runs, honest or not."""

import json
from collections.abc import Sequence

import rfc8785
from tests.support.network.witnesses import SpecWitness
from tests.support.runs.transcripts import Recorder

from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.transcript.head_log import HeadEntry, WitnessedHeads, checkpoint_of, origin_of
from fieldfare.shared.transcript.leaves import TreeHead, tree_head


def heads_of(recorded: Recorder, *sizes: int) -> list[TreeHead]:
    """The heads of a run's first leaves; of the whole log where no size is named."""
    hashes = [leaf.hash for leaf in recorded.leaves]
    study = recorded.bench.study.id
    return [tree_head(study, recorded.run, hashes[:size]) for size in sizes or (len(hashes),)]


def witnessed(
    recorded: Recorder,
    heads: Sequence[TreeHead],
    witnesses: Sequence[SpecWitness] = (),
    *,
    log: int = 1,
) -> bytes:
    """The file of witnessed heads, signed by the run's coordinator; each witness signs it."""
    identities = recorded.bench.federation.identities
    roster: Roster = identities.roster
    entries = tuple(HeadEntry.of(head) for head in heads)
    checkpoint = checkpoint_of(origin_of(roster.roster_key, log), [one.hash for one in entries])
    note = checkpoint.signed(identities.coordinator, bytes.fromhex(roster.coordinator)).decode()
    note += "".join(one.cosigned(checkpoint.text) for one in witnesses)
    return WitnessedHeads(entries=entries, note=note).to_bytes()


def with_entry(content: bytes, **changes: object) -> bytes:
    """The same file with its last entry changed and nothing signed again."""
    found = json.loads(content)
    found["entries"][-1] |= changes
    return rfc8785.dumps(found)
