"""`hello`: send the study to the institutions, collect approvals and keys, wait for absent nodes.

Each node is asked with a nonce of its own, which its institution signs: a node that brings another
institution's answer fails on its own nonce, is left out and named, and its victim is not.

A custodian that was started since asks, before it opens anything, what every member remembers of
its institution: its question goes to all nodes, whoever takes part, and their answers back to it.
"""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from fieldfare.server.run.channel import GridChannel
from fieldfare.server.run.record import Record
from fieldfare.shared.canonical import claimed
from fieldfare.shared.errors import ProtocolError, RunError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.flower_record import (
    REJECTION,
    Call,
    Content,
    bytes_in,
    bytes_of,
    list_in,
    refusal_in,
)
from fieldfare.shared.protocol.messages import (
    Approval,
    Rejection,
    RunAnswer,
    Signer,
    VerifiedMessage,
    open_envelope,
)
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.protocol.remembered import Memory, RecallQuestion
from fieldfare.shared.protocol.roster import Roster

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0  # between two looks at who is there
LATE: Final = "no answer in time"
UNSEEN: Final = "not connected"


@dataclass(frozen=True)
class RunTerms:
    """The terms that a run is opened with.

    Attributes:
        plan: of the study.
        roster: the published one.
        signer: the coordinator's.
        protection: exact, or simulated.
        run: its id; empty where none opens: then nobody makes keys.
        last_replies: the last signed reply held, by institution.
        offer: the signed study, for institutions that do not have it; nothing in simulations.
        wait_seconds: how long to wait for institutions whose nodes are not there.
        node_names: the known names of nodes, for messages only.
    """

    plan: Plan
    roster: Roster
    signer: Signer
    protection: Protection
    run: str
    last_replies: Mapping[str, bytes]
    offer: bytes = b""
    wait_seconds: float = 0.0
    node_names: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NodeApproval:
    """One institution's approval, its answer for the run, and the node that they came from."""

    node: int
    approval: Approval
    envelope: bytes
    answer: RunAnswer | None = None
    signed: bytes = b""
    question: bytes = b""  # to all members, where its custodian was started since it asked them


@dataclass(frozen=True)
class HelloAnswers:
    """The answers: approvals by institution, and the reasons of nodes that take no part.

    Attributes:
        nonces: of the nodes that were asked.
    """

    approvals: dict[str, NodeApproval]
    absent: dict[int, str]
    nonces: dict[int, str] = field(default_factory=dict)


def hello(
    channel: GridChannel, terms: RunTerms, record: Record, wanted: Collection[str] = ()
) -> HelloAnswers:
    """Ask every node for its approval of the study.

    Waits until every wanted institution has answered, at most `terms.wait_seconds`.

    Args:
        channel: the nodes.
        terms: what the run is opened with.
        record: takes the answers.
        wanted: institutions to wait for; all of the roster, if none is named.

    Raises:
        RunError: two nodes speak for one institution.
    """
    end = channel.monotonic() + terms.wait_seconds
    heard = HelloAnswers({}, {})
    while True:
        settled = {approved.node for approved in heard.approvals.values()} | {
            node for node, reason in heard.absent.items() if reason != LATE
        }
        _ask(channel, terms, record, heard, settled)
        # By name: a refusal of an unknown node counts for no institution.
        missing = _missing(terms, heard, wanted)
        if not missing or channel.monotonic() >= end:
            _give_up(terms, record, heard, missing)
            return _relay_recall(channel, terms, _without_restored(channel, terms, heard))
        record.waiting_for(missing)
        channel.sleep(LOOK_SECONDS)


def _ask(
    channel: GridChannel, terms: RunTerms, record: Record, heard: HelloAnswers, settled: set[int]
) -> None:
    """Ask nodes that have not answered yet; adds to the answers."""
    nodes = [node for node in channel.grid.get_node_ids() if node not in settled]
    study = terms.plan.study
    contents = {node: _question(channel, terms, heard, node) for node in nodes}
    # A node that is starting answers a look later; no other node waits for it.
    deadline = min(study.aggregation.deadline_seconds, max(terms.wait_seconds, LOOK_SECONDS))
    if not terms.wait_seconds:
        deadline = study.aggregation.deadline_seconds
    answers = channel.ask(Call.HELLO, contents, deadline)
    for node in sorted(set(nodes) - set(answers)):
        _absent(terms, record, heard, node, channel.refused.get(node, LATE))
    for node, answer in sorted(answers.items()):
        if said := _rejection_in(answer, terms, node):
            # The reason is for the coordinator's people: a run's transcript says no more than no.
            heard.absent[node] = said.body.answer
            record.answered_hello(said.signer, said.body.text, said.content)
            continue
        try:
            approved = _approved_in(answer, terms, node, heard.nonces.get(node, ""))
        except ProtocolError as error:
            _absent(terms, record, heard, node, str(error))
            continue
        heard.absent.pop(node, None)
        name = approved.approval.institution
        if name in heard.approvals:
            raise RunError(f"expected one node for each institution, found {name} twice")
        heard.approvals[name] = approved
        record.answered_hello(name, "approved", approved.envelope)


def _question(
    channel: GridChannel, terms: RunTerms, heard: HelloAnswers, node: int, last_reply: bytes = b""
) -> Content:
    """Return what a node is asked: with the same nonce whenever it is asked again."""
    question: Content = {
        "study": terms.plan.study_id.encode(),
        "last_reply": last_reply,
        "offer": b"" if last_reply else terms.offer,
    }
    if terms.run:
        nonce = heard.nonces.setdefault(node, channel.nonce())
        question |= {"run": terms.run.encode(), "nonce": nonce.encode()}
    return question


def _absent(terms: RunTerms, record: Record, heard: HelloAnswers, node: int, reason: str) -> None:
    """Note why a node takes no part; one that is late may still come."""
    heard.absent[node] = reason
    if reason == LATE:
        return
    log.warning("%s takes no part: %s", terms.node_names.get(node, node), reason)
    if node in terms.node_names:
        record.answered_hello(terms.node_names[node], reason, b"")


def _missing(terms: RunTerms, heard: HelloAnswers, wanted: Collection[str]) -> list[str]:
    """Return the institutions that are waited for and have not been heard of."""
    answered = {terms.node_names.get(n) for n, reason in heard.absent.items() if reason != LATE}
    awaited = sorted(wanted) or terms.roster.ids
    return [name for name in awaited if name not in heard.approvals and name not in answered]


def _give_up(terms: RunTerms, record: Record, heard: HelloAnswers, missing: Sequence[str]) -> None:
    """Record the state of nodes that are given up, or they would be "waiting" for ever."""
    for name in missing:
        nodes = [node for node, known in terms.node_names.items() if known == name]
        late = any(node in heard.absent for node in nodes)
        if nodes and not late:
            heard.absent[nodes[-1]] = UNSEEN
        record.note_action(name, LATE if late else UNSEEN)


def _without_restored(channel: GridChannel, terms: RunTerms, heard: HelloAnswers) -> HelloAnswers:
    """Show institutions their own last signed reply; who does not know it takes no part."""
    study, known = terms.plan.study, terms.last_replies
    shown: dict[int, Content] = {
        approved.node: _question(channel, terms, heard, approved.node, known[name])
        for name, approved in heard.approvals.items()
        if name in known
    }
    if not shown:
        return heard
    answers = channel.ask(Call.HELLO, shown, study.aggregation.deadline_seconds)
    agreed = {node for node, content in answers.items() if "approval" in content}
    heard.absent.update(dict.fromkeys(set(shown) - agreed, "does not know its own last reply"))
    kept = {
        name: approved
        for name, approved in heard.approvals.items()
        if approved.node not in shown or approved.node in agreed
    }
    return HelloAnswers(kept, heard.absent, heard.nonces)


def _relay_recall(channel: GridChannel, terms: RunTerms, heard: HelloAnswers) -> HelloAnswers:
    """Relay what started custodians ask of all members, and the answers; who lacks one is out."""
    askers = {name: one for name, one in heard.approvals.items() if one.question}
    if not askers:
        return heard
    deadline = terms.plan.study.aggregation.deadline_seconds
    question: Content = {"questions": [one.question for one in askers.values()]}
    asked = dict.fromkeys(channel.grid.get_node_ids(), question)
    answered = channel.ask(Call.RECALL, asked, deadline)
    told = (one for content in answered.values() for one in _memories_in(content, terms))
    first: dict[tuple[str, str], bytes] = {}
    for body, memory in told:  # one of each member: nobody fills another's message
        first.setdefault((body.asker, body.institution), memory)
    memories = {
        name: [memory for (asker, _), memory in first.items() if asker == name] for name in askers
    }
    relayed: dict[int, Content] = {
        askers[name].node: {"questions": [askers[name].question], "memories": found}
        for name, found in memories.items()
        if found
    }
    taken = channel.ask(Call.RECALL, relayed, deadline)
    for name, one in askers.items():
        objection = _objection_to(taken.get(one.node), terms, one, memories[name])
        if not objection:
            continue
        heard.absent[one.node] = objection
        log.warning("%s takes no part: %s", name, heard.absent[one.node])
        del heard.approvals[name]
    return heard


def _memories_in(content: Mapping[str, Any], terms: RunTerms) -> Iterator[tuple[Memory, bytes]]:
    """Yield the memories in an answer that a member of the roster signed."""
    try:
        found = list_in(content, "memories")
    except ProtocolError:
        return
    for memory in found:
        with suppress(ProtocolError):
            opened = open_envelope(memory, Memory, terms.roster, terms.protection)
            if opened.signer == opened.body.institution:
                yield opened.body, memory


def _objection_to(
    content: Mapping[str, Any] | None,
    terms: RunTerms,
    asker: NodeApproval,
    memories: Sequence[bytes],
) -> str:
    """Say why a started custodian takes no part yet; empty where it has heard all that it needs."""
    try:
        refusal = None if content is None else refusal_in(content)
        if content is not None and refusal is None:
            return ""
        question = open_envelope(asker.question, RecallQuestion, terms.roster, terms.protection)
    except ProtocolError:
        return "sent a question or an answer that no custodian sends"
    missing = set(question.body.members) - {claimed(one, "institution") for one in memories}
    if missing:
        waits = f"what {', '.join(sorted(missing))} remember{'s' * (len(missing) == 1)} of it"
        return f"was started since, and waits for {waits}"
    code = LATE if refusal is None else f"refused: {refusal.code.value}"
    return f"was started since, and does not accept what the others remember of it ({code})"


def _rejection_in(
    content: Mapping[str, Any], terms: RunTerms, node: int
) -> VerifiedMessage[Rejection] | None:
    """Return the rejection beside a refusal; None where there is none that can be believed.

    It counts only for the institution whose node brought it: none answers for another.
    """
    if REJECTION not in content:
        return None
    try:
        envelope = bytes_of(content, REJECTION)
        opened = open_envelope(envelope, Rejection, terms.roster, terms.protection)
    except ProtocolError as error:
        log.warning("%s: a rejection that cannot be read: %s", terms.node_names.get(node), error)
        return None
    name, body = opened.signer, opened.body
    found = (body.study, body.roster, body.institution, terms.node_names.get(node, name))
    return opened if found == (terms.plan.study_id, terms.roster.hash, name, name) else None


def _approved_in(
    content: Mapping[str, Any], terms: RunTerms, node: int, nonce: str
) -> NodeApproval:
    """Parse and check one node's approval and its answer for the run.

    Raises:
        ProtocolError: a refusal, another study, roster, run or nonce, or a signature by another
            party.
    """
    refusal = refusal_in(content)
    if refusal is not None:
        raise ProtocolError(f"expected an approval, found a refusal with {refusal.code.value}")
    envelope = bytes_of(content, "approval")
    opened = open_envelope(envelope, Approval, terms.roster, terms.protection)
    approval = opened.body
    expected = (terms.plan.study_id, terms.roster.hash, opened.signer)
    if (approval.study, approval.roster, approval.institution) != expected:
        raise ProtocolError("expected an approval of this study by its own signer, found another")
    if approval.institution not in terms.roster.ids:
        raise ProtocolError("expected an institution on the roster, found another")
    if not terms.run:
        return NodeApproval(node, approval, envelope)
    signed = bytes_of(content, "answer")
    answered = open_envelope(signed, RunAnswer, terms.roster, terms.protection)
    answer, name = answered.body, approval.institution
    wanted = (name, name, approval.hash, terms.plan.study_id, terms.roster.hash, terms.run)
    found = (answered.signer, answer.institution, answer.approval, answer.study, answer.roster)
    if (*found, answer.run) != wanted:
        raise ProtocolError("expected an answer for this run by the approval's signer")
    if answer.nonce != nonce:
        raise ProtocolError(
            "expected an answer to this node's own nonce, found one that it has from elsewhere"
        )
    return NodeApproval(node, approval, envelope, answer, signed, bytes_in(content, "question"))


def reasons(terms: RunTerms, absent: Mapping[int, str]) -> str:
    """Return why nodes take no part, each by the name that it is known by."""
    named = {terms.node_names.get(node, f"node {node}"): reason for node, reason in absent.items()}
    return ", ".join(f"{name}: {reason}" for name, reason in sorted(named.items())) or "-"
