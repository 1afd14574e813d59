"""How every run opens: hello, approvals, keys; who answers is who takes part."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fieldfare.server.channel import Channel
from fieldfare.server.rounds import Federation
from fieldfare.shared.errors import ProtocolError, RunError
from fieldfare.shared.exchange import Call, Content, bytes_of, refusal_in
from fieldfare.shared.messages import (
    Approval,
    Assurance,
    Participant,
    RunOpening,
    Signer,
    seal,
    unseal,
)
from fieldfare.shared.plan import Plan
from fieldfare.shared.roster import COORDINATOR, Roster

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunTerms:
    """What a run is opened with."""

    plan: Plan
    roster: Roster
    signer: Signer
    assurance: Assurance
    run: str
    last_replies: Mapping[str, bytes]  # the last signed reply held, by institution


def open_federation(channel: Channel, terms: RunTerms) -> Federation:
    """Open a run with every node that answers and has approved the study.

    Raises:
        RunError: fewer institutions than the study's minimum, or keys that do not fit.
    """
    study = terms.plan.study
    nodes = list(channel.grid.get_node_ids())
    absent: dict[int, str] = {}
    approvals = _hello(channel, terms, nodes, absent)
    minimum = study.aggregation.minimum_institutions
    if len(approvals) < minimum:
        raise RunError(
            f"approvals of at least {minimum} institutions expected, {len(approvals)} of "
            f"{len(nodes)} nodes gave one ({_reasons(absent)})"
        )
    participants = {
        name: Participant(institution=name, approval=approval.hash)
        for name, (_, approval, _) in sorted(approvals.items())
    }
    federation = Federation(
        terms.plan,
        terms.roster,
        terms.signer,
        terms.assurance,
        terms.run,
        {name: node for name, (node, _, _) in approvals.items()},
        participants,
    )
    _agree_on_keys(channel, federation, {name: a[2] for name, a in approvals.items()})
    return federation


def _reasons(absent: Mapping[int, str]) -> str:
    return ", ".join(f"node {node}: {reason}" for node, reason in sorted(absent.items())) or "-"


def _hello(
    channel: Channel, terms: RunTerms, nodes: list[int], absent: dict[int, str]
) -> dict[str, tuple[int, Approval, bytes]]:
    """Ask every node for its approval; returns node, approval and envelope by institution.

    Nodes that take no part are added to `absent`, each with its reason.
    """
    study = terms.plan.study
    contents: dict[int, Content] = {
        node: {"study": study.id.encode(), "last_reply": b""} for node in nodes
    }
    answers = channel.ask(Call.HELLO, contents, study.aggregation.deadline_seconds)
    absent |= dict.fromkeys(set(nodes) - set(answers), "no answer in time")
    approvals: dict[str, tuple[int, Approval, bytes]] = {}
    for node, content in sorted(answers.items()):
        try:
            envelope, approval = _approval_in(content, terms)
        except ProtocolError as error:
            log.warning("node %d takes no part: %s", node, error)
            absent[node] = str(error)
            continue
        if approval.institution in approvals:
            raise RunError(f"one node for each institution expected, {approval.institution} twice")
        approvals[approval.institution] = (node, approval, envelope)
    return _without_restored(channel, terms, approvals, absent)


def _without_restored(
    channel: Channel,
    terms: RunTerms,
    approvals: dict[str, tuple[int, Approval, bytes]],
    absent: dict[int, str],
) -> dict[str, tuple[int, Approval, bytes]]:
    """Show institutions their own last signed reply; who does not know it takes no part."""
    study = terms.plan.study
    known = terms.last_replies
    shown: dict[int, Content] = {
        approvals[name][0]: {"study": study.id.encode(), "last_reply": known[name]}
        for name in approvals
        if name in known
    }
    if not shown:
        return approvals
    answers = channel.ask(Call.HELLO, shown, study.aggregation.deadline_seconds)
    agreed = {node for node, content in answers.items() if "approval" in content}
    absent |= dict.fromkeys(set(shown) - agreed, "does not know its own last reply")
    return {
        name: entry
        for name, entry in approvals.items()
        if entry[0] not in shown or entry[0] in agreed
    }


def _approval_in(content: Mapping[str, Any], terms: RunTerms) -> tuple[bytes, Approval]:
    """Parse and check one node's approval.

    Raises:
        ProtocolError: a refusal, another study or roster, or a signature by somebody else.
    """
    refusal = refusal_in(content)
    if refusal is not None:
        raise ProtocolError(f"an approval expected, refused with {refusal.code.value}")
    envelope = bytes_of(content, "approval")
    opened = unseal(envelope, Approval, terms.roster, terms.assurance)
    approval = opened.body
    expected = (terms.plan.study.id, terms.roster.hash, opened.signer)
    if (approval.study, approval.roster, approval.institution) != expected:
        raise ProtocolError("an approval of this study by its own signer expected")
    if approval.institution not in terms.roster.ids:
        raise ProtocolError("an institution on the roster expected")
    return envelope, approval


def _agree_on_keys(
    channel: Channel, federation: Federation, envelopes: Mapping[str, bytes]
) -> None:
    """Relay approvals, then offers; nobody but the institutions can read a key.

    Raises:
        RunError: somebody refused; a run starts with all its participants or not at all.
    """
    study = federation.plan.study
    names = sorted(federation.participants)
    opening = RunOpening(
        study=study.id,
        roster=federation.roster.hash,
        run=federation.run,
        participants=tuple(federation.participants[name] for name in names),
    )
    opened: Content = {
        "opening": seal(opening, COORDINATOR, federation.signer),
        "approvals": [envelopes[name] for name in names],
    }
    offers = _ask_all(channel, federation, Call.OPEN, opened, "offer")
    agreed: Content = {
        "study": study.id.encode(),
        "run": federation.run.encode(),
        "offers": [offers[name] for name in names],
    }
    _ask_all(channel, federation, Call.AGREE, agreed, "agreed")


def _ask_all(
    channel: Channel, federation: Federation, call: Call, content: Content, name: str
) -> dict[str, bytes]:
    """Ask every participant the same thing and insist on an answer from each."""
    deadline = federation.plan.study.aggregation.deadline_seconds
    contents = dict.fromkeys(federation.nodes.values(), content)
    answers = channel.ask(call, contents, deadline)
    found = {}
    for institution, node in federation.nodes.items():
        answer = answers.get(node)
        if answer is None:
            raise RunError(f"{call.value}: an answer from {institution} expected, none in time")
        try:
            refusal = refusal_in(answer)
            if refusal is None:
                found[institution] = bytes_of(answer, name)
                continue
            reason = f"refused: {refusal.code.value}"
        except ProtocolError as error:
            reason = f"bad reply: {error}"
        raise RunError(f"{call.value}: {institution} takes no part ({reason}); open a new run")
    return found
