"""Every file of a coordinator's home: in which format, and what becomes of it in a backup.

A backup has what institutions pinned and nobody can make again: the roster key, where it lies in
the home, and the authority of the certificates. It has no online key, no token and no account: a
restore makes new ones, and the next roster names the new online key.
"""

from typing import Final

from fieldfare.shared.formats import form
from fieldfare.shared.formats.files import HomeFile, InBackup
from fieldfare.shared.formats.form import Form, json_of, signed, sqlite, toml

_ANEW: Final = InBackup.MADE_ANEW
_OUT: Final = InBackup.LEFT_OUT

COORDINATOR_FILES: Final = (
    HomeFile("coordinator.toml", toml(1)),
    HomeFile("notices.toml", toml(1)),
    HomeFile("roster.signed", form.ROSTER_OFFER),
    HomeFile("invitation.json", signed("invitation.v2")),
    HomeFile("bundle.sha256", Form("SHA-256, hex")),
    HomeFile("bundle/**", Form("zip, Flower's bundle")),
    HomeFile("keys/signing.pem", form.IDENTITY, _ANEW),
    HomeFile("keys/signing.pub", form.IDENTITY_PUBLIC, _ANEW),
    HomeFile("keys/roster.pem", Form("Ed25519, PKCS8 PEM, or a PKCS#11 URI")),
    HomeFile("keys/roster.pem.last", form.ROSTER_OFFER),
    HomeFile("keys/roster.pub", form.IDENTITY_PUBLIC),
    HomeFile("keys/recovery.pub", json_of(1)),
    HomeFile("tls/authority.pem", form.CERTIFICATE),
    HomeFile("tls/authority.key", form.CERTIFICATE_KEY),
    HomeFile("tls/server.pem", form.CERTIFICATE, _ANEW),
    HomeFile("tls/server.key", form.CERTIFICATE_KEY, _ANEW),
    HomeFile("tokens/*", Form("64 hexadecimal digits"), _ANEW),
    HomeFile("members/*.enrolment", signed("enrolment.v2")),
    HomeFile("members/*.rotation", signed("key-rotation.v1")),
    HomeFile("members/*.revocation", signed("key-revocation.v1")),
    HomeFile("members/roster-*.signed", form.ROSTER_OFFER),
    HomeFile("studies/*.signed", form.STUDY_OFFER),
    HomeFile("models/*/*.signed", signed("delivery.v1")),
    HomeFile("models/*/*.safetensors", form.SAFETENSORS),
    HomeFile("models/*/*", json_of(1)),
    HomeFile("state/runs.sqlite", sqlite(7)),
    HomeFile("state/notices.sqlite", form.OUTBOX),
    HomeFile("state/*.questions", json_of(1)),
    HomeFile("state/**", Form("Flower's own, made anew from members and runs"), _ANEW),
    HomeFile("log/*", form.LINES),
    HomeFile("console/**", form.ACCOUNTS, _ANEW),
    HomeFile("run/**", Form("what lives as long as a process"), _OUT),
)
