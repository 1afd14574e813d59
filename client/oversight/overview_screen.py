"""An overview as one screen of plain text, at most 80 columns wide."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from fieldfare.client.approvals.approval_status import ApprovalStatus
from fieldfare.client.node.state import LinkState
from fieldfare.client.oversight.ledger_report import LedgerReport, LimitUse, spent_bar
from fieldfare.client.oversight.overview import NodeLine, Overview, StudyLine, UnreadPart
from fieldfare.client.wire.admin_calls import CustodianStatus
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.terminal.texts import SHORT, counted, elapsed, folded, listed, plain

INDENT: Final = 14
SILENCE: Final = timedelta(seconds=60)  # a node that heard nothing for longer says so
MOST_NAMED: Final = 6  # members, studies of one status
NAME: Final = 40  # characters of another party's name
REASON: Final = 300

Rows = Iterator[tuple[str, str]]


def overview_lines(found: Overview) -> Iterator[str]:
    """Yield an overview line by line."""
    for topic, text in _rows(found):
        yield from folded(f"{topic:<{INDENT}}", text)


def _rows(found: Overview) -> Rows:
    yield "institution", found.institution
    yield "home", str(found.home)
    yield "custodian", _custodian(found)
    yield "node", _node(found)
    yield "roster", _roster(found.roster)
    yield from _studies(found.studies)
    if isinstance(found.custodian, CustodianStatus):
        yield from _activity(found.custodian, found.now)
    yield from _budget(found.budget)
    yield "log", _log(found)


def _custodian(found: Overview) -> str:
    status = found.custodian
    if status is None:
        return "not running"
    if isinstance(status, UnreadPart):
        return f"gives no answer: {_short(status.reason)}"
    if status.trouble:
        return f"running, SERVES NOTHING: {_short(status.trouble)}"
    serving = sum(study.serving for study in status.studies)
    text = (
        f"serving {counted(serving, 'study', 'studies')}, for {_since(status.started, found.now)}"
    )
    text += f", process {status.process}"
    return text + (", taking a change into force" if status.busy else "")


def _node(found: Overview) -> str:
    node = found.node
    if node is None:
        return (
            "no settings here: join with `fieldfare institution join FILE`, or name those of a "
            "node that runs elsewhere with --node-settings"
        )
    if isinstance(node, UnreadPart):
        return f"its settings cannot be read: {_short(node.reason)}"
    if node.state is None:
        return f"never ran, or nothing of it can be read (SuperLink {node.superlink})"
    return _node_state(node, found.now)


def _node_state(node: NodeLine, now: datetime) -> str:
    state = node.state
    if state is None or state.link is LinkState.ENDED:
        last = f"{_since(state.since, now)} ago" if state else "never"
        reason = (state.reason if state else "") or "it ended without a reason"
        return f"not connected: {_short(reason)} (it last said so {last})"
    if state.link is LinkState.CONNECTING:
        return f"connecting to {state.superlink} for {_since(state.since, now)}"
    silent = now - datetime.fromisoformat(state.heard)
    message = (
        f"last message {_since(state.message, now)} ago" if state.message else "no message yet"
    )
    if silent > SILENCE:
        return f"no word from {state.superlink} for {_span(silent)}; {message}"
    return f"connected to {state.superlink} for {_since(state.since, now)}; {message}"


def _roster(roster: Roster | UnreadPart) -> str:
    if isinstance(roster, UnreadPart):
        return f"cannot be used: {_short(roster.reason)}"
    names = [plain(name, NAME) for name in roster.ids]
    return f"version {roster.version}, {len(names)} members: {listed(names, MOST_NAMED)}"


def _studies(studies: Sequence[StudyLine] | UnreadPart) -> Rows:
    if isinstance(studies, UnreadPart):
        yield "studies", f"cannot be read: {_short(studies.reason)}"
        return
    topic = "studies"
    for status, words in (
        (ApprovalStatus.RECEIVED, "waiting for your decision"),
        (ApprovalStatus.APPROVED, "approved"),
        (ApprovalStatus.OUTDATED, "approved before, to be approved again"),
        (ApprovalStatus.REJECTED, "rejected"),
        (ApprovalStatus.WITHDRAWN, "withdrawn"),
    ):
        ones = [one for one in studies if one.status is status]
        if ones:
            named = [f"{one.id[:SHORT]} {plain(one.name, NAME)}" for one in ones]
            yield topic, f"{len(ones)} {words}: {listed(named, MOST_NAMED)}"
            topic = ""
    if topic:
        yield topic, "none has arrived"
    topic = "runs"
    for one in studies:
        if one.runs:
            yield topic, f"of {one.id[:SHORT]}: {listed(one.runs, MOST_NAMED)}"
            topic = ""


def _activity(status: CustodianStatus, now: datetime) -> Rows:
    last = status.last_release
    if last is not None:
        where = f"{last.kind} step {last.step} of run {last.run}, study {last.study[:SHORT]}"
        since = f"{status.releases} since the custodian started"
        yield "last release", f"{where}, {_since(last.time, now)} ago; {since}"
    if status.refusals:
        each = ", ".join(f"{code} {count}" for code, count in status.refusals.items())
        yield "refusals", f"since the custodian started: {each}"
    for study in status.studies:
        if not study.serving:
            yield "left out", f"{study.id[:SHORT]}: {_short(study.reason)}"
        elif study.records:
            yield "records", f"{study.id[:SHORT]}: {study.records}"


def _budget(found: LedgerReport | UnreadPart) -> Rows:
    if isinstance(found, UnreadPart):
        yield "budget", f"NOTHING LEAVES: {_short(found.reason)}"
        return
    yield "any 365 days", spent_bar(found.yearly.spent, found.yearly.limit)
    yield "", _spent(found.yearly)
    yield "ever", spent_bar(found.lifetime.spent, found.lifetime.limit)
    yield "", _spent(found.lifetime)
    position = found.position
    yield "ledger", f"{counted(position.sequence, 'entry', 'entries')}, epoch {position.epoch}"


def _spent(budget: LimitUse) -> str:
    return (
        f"spent epsilon {budget.spent_epsilon:.3g} of {budget.limit_epsilon:g} at delta "
        f"{budget.delta:g}"
    )


def _log(found: Overview) -> str:
    if isinstance(found.log, UnreadPart):
        return f"NOT WHOLE: {_short(found.log.reason)}"
    return f"whole: {counted(found.log.sequence, 'entry', 'entries')}"


def _short(reason: str) -> str:
    return plain(reason, REASON)


def _since(stamp: str, now: datetime) -> str:
    return _span(now - datetime.fromisoformat(stamp))


def _span(length: timedelta) -> str:
    return elapsed(length, least=2, day="days")
