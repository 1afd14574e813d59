"""Every file of a coordinator's home: in which format, and what becomes of it in a backup.

A backup has what institutions pinned and nobody can make again: the roster key, where it lies in
the home, and the authority of the certificates. It has no online key, no token and no account: a
restore makes new ones, and the next roster names the new online key.
"""

from typing import Final

from fieldfare.shared.system.home_files import HomeFile, InBackup

_ANEW: Final = InBackup.MADE_ANEW
_OUT: Final = InBackup.LEFT_OUT

COORDINATOR_FILES: Final = (
    HomeFile("coordinator.toml", "TOML, format 1"),
    HomeFile("notices.toml", "TOML, format 1"),
    HomeFile("roster.signed", "signed roster-offer.v2, roster format 1"),
    HomeFile("invitation.json", "signed invitation.v2"),
    HomeFile("bundle.sha256", "SHA-256, hex"),
    HomeFile("bundle/**", "zip, Flower's bundle"),
    HomeFile("keys/signing.pem", "Ed25519, PKCS8 PEM (RFC 5958)", _ANEW),
    HomeFile("keys/signing.pub", "Ed25519 public key, hex (RFC 8032)", _ANEW),
    HomeFile("keys/roster.pem", "Ed25519, PKCS8 PEM, or a PKCS#11 URI"),
    HomeFile("keys/roster.pem.last", "signed roster-offer.v2, roster format 1"),
    HomeFile("keys/roster.pub", "Ed25519 public key, hex (RFC 8032)"),
    HomeFile("keys/recovery.pub", "recovery key's public half, JSON, format 1"),
    HomeFile("tls/authority.pem", "X.509, PEM (RFC 5280)"),
    HomeFile("tls/authority.key", "NIST P-384, PKCS8 PEM (RFC 5958)"),
    HomeFile("tls/server.pem", "X.509, PEM (RFC 5280)", _ANEW),
    HomeFile("tls/server.key", "NIST P-384, PKCS8 PEM (RFC 5958)", _ANEW),
    HomeFile("tokens/*", "64 hexadecimal digits", _ANEW),
    HomeFile("members/*", "signed papers and rosters, format 1"),
    HomeFile("studies/**", "signed study offers, study format 1"),
    HomeFile("models/*/*.signed", "signed delivery, format 1"),
    HomeFile("models/*/*.safetensors", "safetensors, model format 1"),
    HomeFile("models/*/*", "JSON, format 1"),
    HomeFile("state/runs.sqlite", "SQLite, user_version 7"),
    HomeFile("state/notices.sqlite", "SQLite, user_version 1"),
    HomeFile("state/*.questions", "JSON, format 1"),
    HomeFile("state/**", "Flower's own, made anew from members and runs", _ANEW),
    HomeFile("log/*", "lines of JSON"),
    HomeFile("console/**", "accounts, SQLite, user_version 3", _ANEW),
    HomeFile("run/**", "what lives as long as a process", _OUT),
)
