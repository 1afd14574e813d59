"""The state of an institution, gathered from its home and its processes; read only.

Every part is looked at by itself: what cannot be read is said in its place, and hides no other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from fieldfare.client.approvals.approval_status import ApprovalStatus, approval_status
from fieldfare.client.custodian.custodian import opened_runs
from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy import load_policy, pinned_coordinator
from fieldfare.client.home.roster import pinned_roster
from fieldfare.client.home.settings import HomeSettings, load_settings
from fieldfare.client.home.studies import kept_studies
from fieldfare.client.institution.ledger_checks import check_not_behind, open_ledger
from fieldfare.client.journal.entries import Mark
from fieldfare.client.journal.journal import verify
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.node.settings import NodeSettings
from fieldfare.client.node.state import NodeState, read_node_state
from fieldfare.client.oversight.ledger_report import LedgerReport, report, report_json
from fieldfare.client.wire.admin_calls import CustodianStatus
from fieldfare.client.wire.admin_client import custodian_status
from fieldfare.shared.errors import FieldfareError
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.study.toml import load_toml

OVERVIEW_FORMAT: Final = 1

T = TypeVar("T")


@dataclass(frozen=True)
class UnreadPart:
    """In place of a part that could not be read: why."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class StudyLine:
    """A study that arrived; `runs` are those that keys are kept of."""

    id: str
    name: str
    status: ApprovalStatus
    runs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class NodeLine:
    """The node, as it wrote down itself; `state` is None where none ever ran."""

    superlink: str
    state: NodeState | None
    alive: bool


@dataclass(frozen=True, kw_only=True)
class Overview:
    """Everything that `institution status` shows.

    Attributes:
        custodian: None where none is running.
        node: None where there are no settings for one.
    """

    now: datetime
    home: Path
    institution: str
    custodian: CustodianStatus | UnreadPart | None
    node: NodeLine | UnreadPart | None
    roster: Roster | UnreadPart
    studies: tuple[StudyLine, ...] | UnreadPart
    budget: LedgerReport | UnreadPart
    log: Mark | UnreadPart


def overview(home: Home, node_settings: Path, now: datetime) -> Overview:
    """Return the state of a home and of its processes.

    Args:
        home: the institution's folder, opened.
        node_settings: the node's own file, whether or not it is there.
        now: the present, with a time zone.

    Raises:
        StudyError: a mistake in institution.toml: without it nothing is known.
    """
    settings = load_settings(home)
    roster = _read(lambda: pinned_roster(home, pinned_coordinator(home, load_policy(home))))
    ledger = _read(lambda: open_ledger(home))
    try:
        return Overview(
            now=now,
            home=home.path,
            institution=settings.id,
            custodian=_read(lambda: custodian_status(home.admin_socket)),
            node=_read(lambda: _node(node_settings)),
            roster=roster,
            studies=roster
            if isinstance(roster, UnreadPart)
            else _with(ledger, lambda found: _studies(home, found, roster)),
            budget=_with(ledger, lambda found: _budget(home, settings, found, now)),
            log=_read(lambda: verify(home.log_folder)),
        )
    finally:
        if isinstance(ledger, Ledger):
            ledger.close()


def overview_json(found: Overview) -> dict[str, Any]:
    """Return an overview for programs; a part that could not be read holds an `error`."""
    studies: Any = found.studies
    if not isinstance(studies, UnreadPart):
        studies = [
            {
                "id": one.id,
                "name": one.name,
                "standing": one.status.name.lower(),
                "runs": list(one.runs),
            }
            for one in studies
        ]
    parts = {
        "custodian": _json(found.custodian, lambda one: one.model_dump(mode="json")),
        "node": _json(found.node, _node_json),
        "roster": _json(
            found.roster, lambda one: {"version": one.version, "members": list(one.ids)}
        ),
        "studies": _json(studies, lambda one: one),
        "budget": _json(found.budget, report_json),
        "log": _json(found.log, lambda end: {"first": 1, "last": end.sequence, "hash": end.hash}),
    }
    head = {"format": OVERVIEW_FORMAT, "time": found.now.isoformat(), "home": str(found.home)}
    return {**head, "institution": found.institution, **parts}


def _json(part: Any, write: Callable[[Any], Any]) -> Any:
    if part is None:
        return None
    return {"error": part.reason} if isinstance(part, UnreadPart) else write(part)


def _node_json(node: NodeLine) -> dict[str, Any]:
    state = None if node.state is None else node.state.model_dump(mode="json")
    return {"superlink": node.superlink, "alive": node.alive, "state": state}


def _read(action: Callable[[], T]) -> T | UnreadPart:
    try:
        return action()
    except FieldfareError as error:
        return UnreadPart(str(error))
    except OSError as error:
        return UnreadPart(f"{error.filename or 'file'}: {error.strerror or error}")


def _with(ledger: Ledger | UnreadPart, action: Callable[[Ledger], T]) -> T | UnreadPart:
    return ledger if isinstance(ledger, UnreadPart) else _read(lambda: action(ledger))


def _node(settings: Path) -> NodeLine | None:
    if not settings.exists():
        return None
    node = load_toml(settings, NodeSettings)
    found = read_node_state(settings.absolute().parent / node.state)
    if found is None:
        return NodeLine(superlink=node.superlink, state=None, alive=False)
    return NodeLine(superlink=node.superlink, state=found[0], alive=found[1])


def _studies(home: Home, ledger: Ledger, roster: Roster) -> tuple[StudyLine, ...]:
    epoch = ledger.position().epoch
    return tuple(
        StudyLine(
            id=one.study.id,
            name=one.study.name,
            status=approval_status(one.decision, roster, epoch),
            runs=opened_runs(ledger.run_names(one.study.id)),
        )
        for one in kept_studies(home, roster)
    )


def _budget(home: Home, settings: HomeSettings, ledger: Ledger, now: datetime) -> LedgerReport:
    found = report(ledger, settings.population, load_policy(home), now)
    check_not_behind(ledger, home)
    return found
