"""Institutions with homes on disk, and a coordinator that signs for them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.support.federations.debits import commit_release

from fieldfare.client.approvals.approval import approve, receive
from fieldfare.client.home.comparisons import ComparedKey, ComparisonMethod, keep_compared
from fieldfare.client.home.keys import public_identity
from fieldfare.client.home.layout import Home
from fieldfare.client.home.roster import pin_roster
from fieldfare.client.home.studies import KeptStudy
from fieldfare.client.institution.initial_setup import create_institution
from fieldfare.client.institution.institution import Institution, open_institution
from fieldfare.client.institution.open import Custody, LoadedSums, open_custody, records_loader
from fieldfare.client.journal.journal import Journal
from fieldfare.client.ledger.budget import Debit
from fieldfare.client.ledger.pending import Split
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.privacy.sides import Side
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.messages import IdentitySigner, ReleaseKind
from fieldfare.shared.protocol.roster import Member, Roster
from fieldfare.shared.protocol.signed_files import offer_roster, offer_study
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.private_files import create_private

NOW: Final = datetime(2025, 6, 1, 12, tzinfo=UTC)
NAMES: Final = ("bank-a", "bank-b", "bank-c")
COLUMNS: Final = ("customer", "reported", "amount", "channel")
UNITS: Final = 200


def heard(member: Member) -> ComparedKey:
    """What is kept of a key whose code was heard."""
    return ComparedKey(
        institution=member.id,
        key=member.key,
        how=ComparisonMethod.CALL,
        user="tester",
        time=NOW.isoformat(),
    )


def clock() -> datetime:
    return NOW


def home_study(**changes: Any) -> Study:
    """A small study of the columns that the homes have; `privacy__epsilon=...` changes a key."""
    data: dict[str, Any] = {
        "name": "small",
        "purpose": "tests",
        "records": {"unit": "customer", "label": "reported", "units": 600, "prevalence": 0.1},
        "features": [
            {"name": "amount", "kind": "numeric", "lower": 0, "upper": 10},
            {"name": "channel", "kind": "categorical", "levels": ["branch", "online"]},
        ],
        "training": {"steps": 3},
        "privacy": {"epsilon": 0.5, "delta": 1e-5, "collusion_tolerance": 1},
        "aggregation": {"minimum_institutions": 3, "opening": "on", "participants": "any"},
    }
    for path, value in changes.items():
        section, _, key = path.rpartition("__")
        (data.setdefault(section, {}) if section else data)[key] = value
    return Study.model_validate(data)


def new_key() -> Ed25519PrivateKey:
    """A key, by what makes keys now: a recording puts that still."""
    return Ed25519PrivateKey.generate()


@dataclass
class Coordinator:
    """A coordinator, and the homes on its roster."""

    folder: Path
    key: Ed25519PrivateKey = field(default_factory=new_key)
    homes: dict[str, Home] = field(default_factory=dict)
    roster_key: Ed25519PrivateKey = field(default_factory=new_key)

    @property
    def public(self) -> str:
        """The roster key, which institutions pin."""
        return public_hex(self.roster_key)

    @property
    def roster_signer(self) -> IdentitySigner:
        return IdentitySigner(self.roster_key)

    @property
    def signer(self) -> IdentitySigner:
        return IdentitySigner(self.key)

    def pem(self) -> Path:
        """The coordinator's key as a file."""
        path = self.folder / "coordinator.pem"
        if not path.exists():
            encoding = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            create_private(path, self.key.private_bytes(*encoding))
        return path

    def found(self, name: str, *, units: int = UNITS) -> Home:
        """A home with records, a policy that lists its columns, and no roster yet."""
        home = create_institution(self.folder / name, name, coordinator=self.public)
        random = np.random.default_rng(len(self.homes))
        rows = [
            f"{name}-{row},{random.uniform() < 0.1:d},{random.uniform(0, 10):.2f},"
            f"{'branch' if random.uniform() < 0.5 else 'online'}"
            for row in range(units)
        ]
        (home.path / "records.csv").write_text("\n".join([",".join(COLUMNS), *rows, ""]))
        listed = ", ".join(f'"{column}"' for column in COLUMNS)
        self.edit(home.policy, "columns = []\n", f"columns = [{listed}]\n")
        with home.settings.open("a") as file:
            file.write('\n[[records]]\npath = "records.csv"\nunit = "customer"\n')
        self.homes[name] = home
        return home

    @staticmethod
    def edit(path: Path, old: str, new: str) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def roster(self, *, version: int = 1, multiplicity: int = 1) -> Roster:
        members = tuple(
            Member(id=name, key=public_identity(home)) for name, home in sorted(self.homes.items())
        )
        previous = self.roster(version=version - 1).hash if version > 1 else ""
        return Roster(
            version=version,
            multiplicity=multiplicity,
            coordinator=public_hex(self.key),
            members=members,
            roster_key=self.public,
            previous=previous,
        )

    def signed_roster(self, roster: Roster | None = None) -> bytes:
        return offer_roster(roster or self.roster(), self.roster_signer)

    def pin(self, roster: Roster | None = None) -> None:
        """Every home pins it."""
        for home in self.homes.values():
            pin_roster(home, self.signed_roster(roster))

    def compare(self, roster: Roster | None = None) -> None:
        """Everybody hears everybody's code."""
        found = roster or self.roster()
        for name, home in self.homes.items():
            keep_compared(home, [heard(one) for one in found.members if one.id != name])

    def signed(self, study: Study) -> bytes:
        return offer_study(study, self.signer)

    def file(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def institution(self, name: str = NAMES[0]) -> Institution:
        return open_institution(self.homes[name].path)

    def receive(self, study: Study, name: str = NAMES[0], now: datetime = NOW) -> KeptStudy:
        institution = self.institution(name)
        journal = Journal.open(institution.home.log_folder, clock=clock)
        return receive(institution, journal, self.signed(study), "study", "tester", now)


@pytest.fixture
def coordinator() -> Iterator[Coordinator]:
    """Three homes that pinned a roster of all three, where no path is too long for a socket."""
    with TemporaryDirectory(prefix="ff-") as folder:
        made = Coordinator(Path(folder))
        for name in NAMES:
            made.found(name)
        made.pin()
        made.compare()
        yield made


OpenCustody = Callable[..., Custody]


@pytest.fixture
def custody_of(coordinator: Coordinator) -> Iterator[OpenCustody]:
    """Open custodies that are closed when the test ends."""
    with ExitStack() as stack:
        yield lambda name=NAMES[0]: stack.enter_context(
            open_custody(coordinator.institution(name), None, clock)
        )


def loaded(custody: Custody, study: Study) -> LoadedSums:
    return records_loader(custody.institution, {})(study)


def approve_all(coordinator: Coordinator, custodies: Sequence[Custody], study: Study) -> None:
    """Every custody receives and approves the study."""
    for custody in custodies:
        kept = coordinator.receive(study, custody.party.institution)
        approve(custody, kept, loaded(custody, study), "tester", NOW)


def first_answer(custody: Custody, study: Study, cost: int = 10**9) -> None:
    """Leave in the ledger what a first training step over its records does."""
    sums = loaded(custody, study).sums
    commit_release(
        custody.ledger,
        Debit(
            study=study.id,
            run="run-1",
            step=0,
            attempt=0,
            kind=ReleaseKind.TRAINING.value,
            request=bytes_hash(study.id.encode()),
            cost=cost,
            side=Side.TRAINING,
        ),
        vector=b"masked",
        study_limit=10**12,
        max_attempts=1,
        sign=lambda _: b"signed",
        run_states={},
        split=Split(sums.split, sums.ids.to_bytes()),
    )


def all_bytes(home: Home) -> bytes:
    """Every file of a home."""
    return b"".join(path.read_bytes() for path in sorted(home.path.rglob("*")) if path.is_file())
