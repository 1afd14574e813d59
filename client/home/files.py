"""Every file of an institution's home: in which format, and what becomes of it in a backup.

No key that signs or opens a door is in a backup: a restore makes new ones, so whoever took a
backup, recovery key and all, is nobody. The hold-out key is in it: without it, units change their
sides, and that costs. Keys of entries lie beside the home and of runs in memory, in no backup.
"""

from typing import Final

from fieldfare.shared.system.home_files import HomeFile, InBackup

_ANEW: Final = InBackup.MADE_ANEW
_OUT: Final = InBackup.LEFT_OUT

INSTITUTION_FILES: Final = (
    HomeFile("institution.toml", "TOML, format 1"),
    HomeFile("policy.toml", "TOML, format 1"),
    HomeFile("node.toml", "TOML, format 1"),
    HomeFile("notices.toml", "TOML, format 1"),
    HomeFile("coordinator.pub", "Ed25519 public key, hex (RFC 8032)"),
    HomeFile("authority.pem", "X.509, PEM (RFC 5280)"),
    HomeFile("roster.signed", "signed roster-offer.v2, roster format 1"),
    HomeFile("rosters/*.signed", "signed roster-offer.v2, roster format 1"),
    HomeFile("rosters/proofs/*.signed", "signed roster-offer.v2, roster format 1"),
    HomeFile("comparisons.json", "JSON, format 1"),
    HomeFile("suppression.csv", "CSV, one column (docs/scoring.md)"),
    HomeFile("keys/identity.pem", "Ed25519, PKCS8 PEM (RFC 5958)", _ANEW),
    HomeFile("keys/identity.uri", "PKCS#11 URI (RFC 7512)", _ANEW),
    HomeFile("keys/identity.pub", "Ed25519 public key, hex (RFC 8032)", _ANEW),
    HomeFile("keys/node", "NIST P-384, OpenSSH", _ANEW),
    HomeFile("keys/node.pub", "NIST P-384, OpenSSH line", _ANEW),
    HomeFile("keys/holdout", "32 bytes"),
    HomeFile("keys/recovery.pub", "recovery key's public half, JSON, format 1"),
    HomeFile("keys/rotations/*.signed", "signed statement, format 1"),
    HomeFile("keys/rotations/*.lost", "a date (ISO 8601)"),
    HomeFile("studies/*.signed", "signed study offer, study format 1"),
    HomeFile("studies/*.json", "JSON, format 1"),
    HomeFile("ledger/ledger.sqlite", "SQLite, versions in its table `migrations`"),
    HomeFile("ledger/ledger.sqlite.witness", "JSON, format 2", _ANEW),
    HomeFile("log/log.sqlite", "SQLite, user_version 1"),
    HomeFile("log/restored.heads", "signed heads of the log, format 1"),
    HomeFile("log/old/*", "lines of a log of before it was rows, format 1"),
    HomeFile("models/*/*/*.signed", "signed delivery, format 1"),
    HomeFile("models/*/*/*.safetensors", "safetensors, model format 1"),
    HomeFile("models/*/*/*.json", "JSON, format 1"),
    HomeFile("models/*/*/*.html", "HTML, drawn from card.json"),
    HomeFile("scoring/alerts.sqlite", "SQLite, user_version 3"),
    HomeFile("scoring/**", "JSON, format 2"),
    HomeFile("notices/outbox.sqlite", "SQLite, user_version 1"),
    HomeFile("records-health.json", "JSON, format 1", _OUT),
    HomeFile("invented", "empty; of a bank that nobody runs"),
    HomeFile("desk/**", "second factors, SQLite, user_version 1", _ANEW),
    HomeFile("console/**", "accounts, SQLite, user_version 3", _ANEW),
    HomeFile("spill/**", "unnamed files, Arrow and numbers, while a process reads them", _OUT),
    HomeFile("run/**", "sockets, and JSON of format 1 while a process lives", _OUT),
)
