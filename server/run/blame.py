"""What a coordinator does after a rehearsal whose masks did not cancel: find out who lied.

The failed sum is kept first. Then everybody is shown what all signed, and publishes the private
keys of the opening; these are kept too, and the run ends with the names that follow from them. A
process that was killed in between asks again: custodians send the same bytes.
"""

import logging
from collections.abc import Mapping

from fieldfare.server.run.channel import GridChannel
from fieldfare.server.run.hello import RunTerms
from fieldfare.server.run.record import Record
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import NeedsPersonError, ProtocolError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.flower_record import Call, Content, bytes_of, refusal_in
from fieldfare.shared.protocol.messages import RehearsalKeys, open_envelope
from fieldfare.shared.run.blame import blame, failed_rehearsal, may_publish

log = logging.getLogger(__name__)

OVER = "no budget was spent; start another run"
UNKNOWN = "rehearsal failed: the institutions do not share the same keys"


def asked_for_keys(
    channel: GridChannel, terms: RunTerms, record: Record, nodes: Mapping[str, int]
) -> NeedsPersonError:
    """Ask for the keys of a failed rehearsal, keep them, and return how the run ends.

    Args:
        channel: the nodes.
        terms: of the run.
        record: whose last sum is the rehearsal's.
        nodes: by institution; who is not among them publishes none.
    """
    state, plan = record.run, terms.plan
    if terms.protection is not Protection.EXACT or not may_publish(state):
        return NeedsPersonError(f"{UNKNOWN}; {OVER}")
    asked = {node: name for name, node in nodes.items() if name not in state.published}
    shown = record.last
    content: Content = {
        "request": shown.request,
        "replies": list(shown.replies),
        "vectors": list(shown.vectors),
        "statements": list(shown.statements),
    }
    deadline = plan.study.aggregation.deadline_seconds
    answers = channel.ask(Call.PUBLISH, dict.fromkeys(asked, content), deadline)
    found = {}
    for node, answer in answers.items():
        try:
            found[asked[node]] = _keys_in(answer, asked[node], terms, record)
        except ProtocolError as error:
            log.warning("%s: published no keys: %s", asked[node], error)
    record.keep_published(found)
    vectors = {bytes_hash(vector): vector for vector in shown.vectors}
    failed = failed_rehearsal(record.run, record.log(), vectors.__getitem__)
    return NeedsPersonError(f"{blame(failed).text if failed else UNKNOWN}; {OVER}")


def _keys_in(
    content: Mapping[str, object], institution: str, terms: RunTerms, record: Record
) -> bytes:
    """Return what an institution published, signed by itself and about this rehearsal.

    Raises:
        ProtocolError: a refusal, or something else.
    """
    refusal = refusal_in(content)
    if refusal is not None:
        raise ProtocolError(f"refused: {refusal.code.value}")
    envelope = bytes_of(content, "keys")
    opened = open_envelope(envelope, RehearsalKeys, terms.roster, terms.protection)
    if opened.signer != institution or opened.body.institution != institution:
        raise ProtocolError("expected keys that this institution signed")
    record.run.with_keys(opened)
    return envelope
