"""Every file of an institution's home: in which format, and what becomes of it in a backup.

No key that signs or opens a door is in a backup: a restore makes new ones, so whoever took a
backup, recovery key and all, is nobody. The hold-out key is in it: without it, units change their
sides, and that costs. Keys of entries lie beside the home and of runs in memory, in no backup.
"""

from typing import Final

from fieldfare.shared.formats import form
from fieldfare.shared.formats.files import HomeFile, InBackup
from fieldfare.shared.formats.form import Form, json_of, signed, sqlite, toml

_ANEW: Final = InBackup.MADE_ANEW
_OUT: Final = InBackup.LEFT_OUT

INSTITUTION_FILES: Final = (
    HomeFile("institution.toml", toml(1)),
    HomeFile("policy.toml", toml(1)),
    HomeFile("node.toml", toml(1)),
    HomeFile("notices.toml", toml(1)),
    HomeFile("coordinator.pub", form.IDENTITY_PUBLIC),
    HomeFile("authority.pem", form.CERTIFICATE),
    HomeFile("roster.signed", form.ROSTER_OFFER),
    HomeFile("rosters/*.signed", form.ROSTER_OFFER),
    HomeFile("rosters/proofs/*.signed", form.ROSTER_OFFER),
    HomeFile("comparisons.json", json_of(1)),
    HomeFile("suppression.csv", Form("CSV, one column (docs/scoring.md)")),
    HomeFile("keys/identity.pem", form.IDENTITY, _ANEW),
    HomeFile("keys/identity.uri", Form("PKCS#11 URI (RFC 7512)"), _ANEW),
    HomeFile("keys/identity.pub", form.IDENTITY_PUBLIC, _ANEW),
    HomeFile("keys/node", Form("NIST P-384, OpenSSH"), _ANEW),
    HomeFile("keys/node.pub", Form("NIST P-384, OpenSSH line"), _ANEW),
    HomeFile("keys/holdout", Form("32 bytes")),
    HomeFile("keys/recovery.pub", json_of(1)),
    HomeFile("keys/rotations/*.signed", signed("key-rotation.v1", "key-revocation.v1")),
    HomeFile("keys/rotations/*.lost", Form("a date (ISO 8601)")),
    HomeFile("studies/*.signed", form.STUDY_OFFER),
    HomeFile("studies/*.json", json_of(1)),
    HomeFile("ledger/ledger.sqlite", sqlite(6)),
    HomeFile("ledger/ledger.sqlite.witness", json_of(2), _ANEW),
    HomeFile("log/log.sqlite", sqlite(1)),
    HomeFile("log/restored.heads", signed("journal-head.v1")),
    HomeFile("log/old/*", form.LINES),
    HomeFile("models/*/*/*.signed", signed("delivery.v1")),
    HomeFile("models/*/*/*.safetensors", form.SAFETENSORS),
    HomeFile("models/*/*/*.json", json_of(1)),
    HomeFile("models/*/*/*.html", Form("HTML, drawn from card.json")),
    HomeFile("scoring/alerts.sqlite", sqlite(3)),
    HomeFile("scoring/**", json_of(2)),
    HomeFile("notices/outbox.sqlite", form.OUTBOX),
    HomeFile("records-health.json", json_of(1), _OUT),
    HomeFile("invented", Form("empty; of a bank that nobody runs")),
    HomeFile("desk/desk.sqlite", sqlite(1), _ANEW),
    HomeFile("console/**", form.ACCOUNTS, _ANEW),
    HomeFile("spill/**", Form("unnamed files, Arrow and numbers, while a process reads"), _OUT),
    HomeFile("run/**", Form("sockets, and JSON while a process lives"), _OUT),
)
