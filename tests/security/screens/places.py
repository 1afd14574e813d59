"""What calls need beside the marked file: homes, a study, a roster, papers, all of them true."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import tomlkit
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.homes.institutions import NAMES, NOW, Coordinator, approve_all, home_study
from tests.support.homes.keyed_coordinators import KeyedCoordinator
from tests.support.homes.papers import Applicant
from tests.support.runs.written_runs import STUDIES, WrittenRun

from fieldfare.client.alerts.reports.forms import ReportFormat
from fieldfare.client.institution.initial_setup import create_institution
from fieldfare.client.institution.open import open_custody
from fieldfare.client.records.importers.registry import ImportFormat
from fieldfare.server.home.roster_key import load_roster_key
from fieldfare.server.members.publication import invite
from fieldfare.shared.evidence.pack import EvidenceManifest, PackSigner, listed_files, pack_bytes
from fieldfare.shared.party.recovery_key import RecoveryPrivate
from fieldfare.shared.protocol.comparison import sign_vouching
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.messages import IdentitySigner
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.system.private_files import create_private

FILES: Final = {"evidence.html": b"<p>page</p>", "evidence.json": b"{}\n"}


@dataclass
class Place:
    """A folder of true files.

    Attributes:
        given: what stands for each word in braces of a call.
        papers: signed ones, and files of TOML, by name.
        keys: of those who sign them.
    """

    folder: Path
    given: dict[str, str]
    papers: Mapping[str, bytes]
    keys: Mapping[str, Ed25519PrivateKey]


def made_place(folder: Path) -> Place:
    """Make everything."""
    bank = Coordinator(folder)
    for name in NAMES:
        bank.found(name)
    bank.pin()
    bank.compare()
    (folder / "hub").mkdir()
    hub, study = KeyedCoordinator.found(folder / "hub"), home_study()
    with ExitStack() as stack:
        custody = stack.enter_context(open_custody(bank.institution(), None, lambda: NOW))
        approve_all(bank, [custody], study)
    fresh = create_institution(folder / "fresh", "bank-f", coordinator=bank.public)
    recovery = RecoveryPrivate.generate()
    create_private(folder / "recovery", recovery.content)
    papers = _papers(bank, hub)
    for name, content in papers.items():
        (folder / name).write_bytes(content)
    home = bank.homes[NAMES[0]]
    given = {
        "home": home.path, "hub": hub.home.path, "fresh": fresh.path, "pem": bank.pem(),
        "study": folder / "study.toml", "roster": folder / "roster", "pack": folder / "pack.zip",
        "records": home.path / "records.csv", "csv": home.path / "records.csv",
        "customers": home.path / "records.csv", "text": folder / "study.toml",
        "transcript": folder / "transcript", "run_roster": folder / "run_roster",
        "recovery": folder / "recovery", "secret": folder / "secret.key", "model": "0000",
        "alert": "0000", "form": ImportFormat.PAYSIM.value,
        "report": ReportFormat.GOAML.value,
    }  # fmt: skip
    keys = {"coordinator": bank.key, "coordinator-roster": bank.roster_key}
    return Place(folder, {name: str(value) for name, value in given.items()}, papers, keys)


def _papers(bank: Coordinator, hub: KeyedCoordinator) -> dict[str, bytes]:
    study, written = home_study(), WrittenRun(STUDIES["training"]()).finish()
    invite(hub.home, load_roster_key(hub.home, None))
    identity = Ed25519PrivateKey.generate()
    return {
        "study.toml": tomlkit.dumps(study.model_dump(mode="json", exclude_none=True)).encode(),
        "questions.toml": (b'[[queries]]\nname = "how many"\nkind = "count"\ncolumn = "channel"\n'),
        "study": bank.signed(study),
        "roster": bank.signed_roster(),
        "invitation": hub.home.invitation.read_bytes(),
        "enrolment": Applicant("bank-z", hub.home).enrolment(),
        "vouching": sign_vouching(NAMES[1], [(NAMES[2], public_hex(identity))], identity, 1),
        "transcript": written.to_bytes(),
        "run_roster": written.leaves[0].content,
        "pack.zip": _pack(bank),
    }


def _pack(bank: Coordinator) -> bytes:
    by = PackSigner(COORDINATOR, public_hex(bank.key), IdentitySigner(bank.key))
    manifest = EvidenceManifest(
        made="2026-03-04 05:06:07 UTC", role="coordinator", maker=by.name, key=by.key,
        study="1" * 64, run="run-1", roster="2" * 64, transcript="3" * 64, policy="",
        software="4" * 64, files=listed_files(FILES),
    )  # fmt: skip
    return pack_bytes(manifest, FILES, by)
