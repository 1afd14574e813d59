"""What holds at an institution that its people are told of.

Everything here is known to the coordinator, or follows from the calendar and the policy: which
studies arrived and what people said to them, which models came, that a rehearsal failed, whether
the node is connected, when a certificate ends, what studies were debited. Nothing of it depends on
a record, nor does its time (docs/adr/0031-a-notice-is-a-sentence-of-a-closed-list.md).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from cryptography import x509

from fieldfare.client.home.layout import DELIVERY_FILE, Home
from fieldfare.client.home.studies import State, kept_ids, read_decision
from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import read
from fieldfare.client.node.settings import AUTHORITY_FILE, NodeSettings
from fieldfare.client.node.state import LinkState, read_node_state
from fieldfare.client.wire.admin_client import custodian_status
from fieldfare.shared.errors import KeysError
from fieldfare.shared.study.toml import load_toml
from fieldfare.shared.system.home_folder import is_plain_name
from fieldfare.shared.system.private_files import read_public
from fieldfare.shared.watch.notice_settings import BUDGET_SHARE, CERTIFICATE_ENDS, NODE_AWAY
from fieldfare.shared.watch.outbox import KEPT, Fact, Observation, seen_by
from fieldfare.shared.watch.sentences import NoticeKind

HEARD: Final = timedelta(minutes=2)  # a node notes every few seconds that it is heard


_OF_STUDIES: Final = frozenset(
    {NoticeKind.STUDY_WAITS, NoticeKind.STUDY_REJECTED, NoticeKind.STUDY_APPROVED}
)


@dataclass
class InstitutionFacts:
    """Looks at a home, again and again.

    Attributes:
        home: the institution's.
        admin_socket: of its custodian's administration.
    """

    home: Home
    admin_socket: Path
    _read: int = 0  # of the journal
    _dead: dict[tuple[str, str], datetime] = field(default_factory=dict)

    def look(self, now: datetime) -> Observation:
        """Return everything that holds."""
        kind = NoticeKind
        return seen_by(
            (
                (_OF_STUDIES, self._studies),
                (frozenset({kind.RUN_ENDED}), self._models),
                (frozenset({kind.RUN_FAILED}), partial(self._failed, now)),
                (frozenset({kind.CERTIFICATE_ENDS}), partial(self._certificate, now)),
                (frozenset({kind.NODE_GONE}), partial(self._node, now)),
                (frozenset({kind.BUDGET_ENDS}), self._budget),
            )
        )

    def _studies(self) -> Iterator[Fact]:
        for study in kept_ids(self.home):
            decision = read_decision(self.home, study)
            state = decision.state
            if state is State.RECEIVED:
                yield Fact(NoticeKind.STUDY_WAITS, study)
            elif state is State.REJECTED:
                yield Fact(NoticeKind.STUDY_REJECTED, study)
            elif (
                state is State.APPROVED
                and decision.asked
                # A first yes under a newer roster approves nothing yet; no other one hides this.
                and decision.first_roster in {"", decision.roster}
            ):
                yield Fact(NoticeKind.STUDY_APPROVED, study, subject=decision.time)

    def _models(self) -> Iterator[Fact]:
        for study in kept_ids(self.home):
            for folder in sorted((self.home.models / study).glob("*")):
                if is_plain_name(folder.name) and (folder / DELIVERY_FILE).is_file():
                    yield Fact(NoticeKind.RUN_ENDED, study, folder.name)

    def _failed(self, now: datetime) -> Iterator[Fact]:
        """Yield the runs that lately ended with a rehearsal that did not come to zero.

        Rehearsals cost nothing, so a coordinator may let as many fail as it likes.
        """
        if self.home.log.exists():
            for entry in read(self.home.log_folder, since=self._read):
                self._read = entry.sequence
                if entry.event is Event.PUBLISHED:
                    study, run = (str(entry.details.get(name, "")) for name in ("study", "run"))
                    self._dead[study, run] = entry.time
        self._dead = {one: time for one, time in self._dead.items() if now - time <= KEPT}
        for study, run in sorted(self._dead):
            yield Fact(NoticeKind.RUN_FAILED, study, run)

    def _certificate(self, now: datetime) -> list[Fact]:
        """Return whether the authority ends soon that the node trusts."""
        terms = self._node_settings()
        if terms is None:
            return []
        path = self.home.path / AUTHORITY_FILE
        try:
            found = x509.load_pem_x509_certificates(read_public(path))
        except ValueError:
            raise KeysError(f"{path}: expected certificates in PEM, found something else") from None
        ends = min(one.not_valid_after_utc for one in found)
        if ends - now >= CERTIFICATE_ENDS:
            return []
        return [Fact(NoticeKind.CERTIFICATE_ENDS, subject=f"{ends:%Y-%m-%d}")]

    def _node(self, now: datetime) -> list[Fact]:
        terms = self._node_settings()
        told = terms and read_node_state(self.home.path / terms.state)
        if not told:  # none ever ran
            return []
        state, alive = told
        heard = _moment(state.heard) or now
        if alive and state.link is LinkState.CONNECTED and now - heard <= HEARD:
            return []
        return [Fact(NoticeKind.NODE_GONE, holds=NODE_AWAY)]

    def _node_settings(self) -> NodeSettings | None:
        path = self.home.path / "node.toml"
        return load_toml(path, NodeSettings) if path.is_file() else None

    def _budget(self) -> list[Fact] | None:
        status = custodian_status(self.admin_socket)
        if status is None or status.ledger is None:
            return None
        near = status.ledger.nears_its_end(BUDGET_SHARE)
        return [Fact(NoticeKind.BUDGET_ENDS)] if near else []


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
