"""Every file of an institution's home: its format, how far it grows, its place in a backup.

No key that signs or opens a door is in a backup: a restore makes new ones, so whoever took a
backup, recovery key and all, is nobody. The hold-out key is in it: without it, units change their
sides, and that costs. Keys of entries lie beside the home and of runs in memory, in no backup.
"""

from typing import Final

from fieldfare.shared.party import file_form as form
from fieldfare.shared.party.file_form import Form, json_of, signed, sqlite, toml
from fieldfare.shared.party.home_files import Growth, HomeFile, InBackup

_ANEW: Final = InBackup.MADE_ANEW
_OUT: Final = InBackup.LEFT_OUT
_ONE: Final = Growth.REPLACED
_PASSING: Final = Growth.PASSING
_LIMITED: Final = Growth.LIMITED
_BY_ACT: Final = Growth.BY_ACT
_FOR_GOOD: Final = Growth.FOR_GOOD

INSTITUTION_FILES: Final = (
    HomeFile("institution.toml", toml(1), _ONE),
    HomeFile("policy.toml", toml(1), _ONE),
    HomeFile("node.toml", toml(1), _ONE),
    HomeFile("notices.toml", toml(1), _ONE),
    HomeFile("coordinator.pub", form.IDENTITY_PUBLIC, _ONE),
    HomeFile("authority.pem", form.CERTIFICATE, _ONE),
    HomeFile("roster.signed", form.ROSTER_OFFER, _ONE),
    HomeFile("rosters/**", form.ROSTER_OFFER, _BY_ACT),
    HomeFile("comparisons.json", json_of(1), _ONE),
    HomeFile("suppression.csv", Form("CSV, one column (docs/scoring.md)"), _ONE),
    HomeFile("keys/identity.pem", form.IDENTITY, _ONE, _ANEW),
    HomeFile("keys/identity.uri", Form("PKCS#11 URI (RFC 7512)"), _ONE, _ANEW),
    HomeFile("keys/identity.pub", form.IDENTITY_PUBLIC, _ONE, _ANEW),
    HomeFile("keys/node", Form("NIST P-384, OpenSSH"), _ONE, _ANEW),
    HomeFile("keys/node.pub", Form("NIST P-384, OpenSSH line"), _ONE, _ANEW),
    HomeFile("keys/link/*.pem", form.KEY_AND_CERTIFICATE, _ONE, _ANEW),
    HomeFile("keys/holdout", Form("32 bytes"), _ONE),
    HomeFile("keys/recovery.pub", json_of(1), _ONE),
    HomeFile("keys/rotations/*.signed", signed("key-rotation.v1", "key-revocation.v1"), _BY_ACT),
    HomeFile("keys/rotations/*.lost", Form("a date (ISO 8601)"), _BY_ACT),
    HomeFile("studies/*.signed", form.STUDY_OFFER, _LIMITED),
    HomeFile("studies/*.json", json_of(1), _LIMITED),
    HomeFile("ledger/ledger.sqlite", sqlite(8, oldest=6), _FOR_GOOD),
    HomeFile("ledger/ledger.sqlite.witness", json_of(2), _ONE, _ANEW),
    HomeFile("log/log.sqlite", sqlite(1), _FOR_GOOD),
    HomeFile("log/restored.heads", signed("journal-head.v1"), _ONE),
    HomeFile("log/processes.jsonl*", form.LINES, _LIMITED, _OUT),
    HomeFile("models/*/*/*.signed", signed("delivery.v1"), _LIMITED),
    HomeFile("models/*/*/*.safetensors", form.SAFETENSORS, _LIMITED),
    HomeFile("models/*/*/*.json", json_of(1), _LIMITED),
    HomeFile("models/*/*/*.html", Form("HTML, drawn from card.json"), _LIMITED),
    HomeFile("scoring/alerts.sqlite", sqlite(3, oldest=3), _LIMITED),
    HomeFile("scoring/**", json_of(2), _BY_ACT),
    HomeFile("notices/outbox.sqlite", form.OUTBOX, _LIMITED),
    HomeFile("records-health.json", json_of(1), _ONE, _OUT),
    HomeFile("invented", Form("empty; of a bank that nobody runs"), _ONE),
    HomeFile("desk/desk.sqlite", sqlite(1), _BY_ACT, _ANEW),
    HomeFile("console/**", form.ACCOUNTS, _LIMITED, _ANEW),
    HomeFile("spill/**", Form("unnamed while a process reads; kept parts, Arrow"), _PASSING, _OUT),
    HomeFile("run/**", Form("sockets, and JSON while a process lives"), _PASSING, _OUT),
)
