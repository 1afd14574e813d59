"""Every file of a coordinator's home: its format, how far it grows, its place in a backup.

A backup has what institutions pinned and nobody can make again: the roster key, where it lies in
the home, and the authority of the certificates. It has no online key, no token and no account: a
restore makes new ones, and the next roster names the new online key.
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

COORDINATOR_FILES: Final = (
    HomeFile("coordinator.toml", toml(1), _ONE),
    HomeFile("notices.toml", toml(1), _ONE),
    HomeFile("roster.signed", form.ROSTER_OFFER, _ONE),
    HomeFile("invitation.json", signed("invitation.v2"), _ONE),
    HomeFile("bundle.sha256", Form("SHA-256, hex"), _ONE),
    HomeFile("bundle/**", Form("zip, Flower's bundle"), _ONE),
    HomeFile("keys/signing.pem", form.IDENTITY, _ONE, _ANEW),
    HomeFile("keys/signing.pub", form.IDENTITY_PUBLIC, _ONE, _ANEW),
    HomeFile("keys/roster.pem", Form("Ed25519, PKCS8 PEM, or a PKCS#11 URI"), _ONE),
    HomeFile("keys/roster.pem.last", form.ROSTER_OFFER, _ONE),
    HomeFile("keys/roster.pub", form.IDENTITY_PUBLIC, _ONE),
    HomeFile("keys/recovery.pub", json_of(1), _ONE),
    HomeFile("tls/authority.pem", form.CERTIFICATE, _ONE),
    HomeFile("tls/authority.key", form.CERTIFICATE_KEY, _ONE),
    HomeFile("tls/server.pem", form.CERTIFICATE, _ONE, _ANEW),
    HomeFile("tls/server.key", form.CERTIFICATE_KEY, _ONE, _ANEW),
    HomeFile("tokens/*", Form("64 hexadecimal digits"), _ONE, _ANEW),
    HomeFile("members/*", form.MEMBER_PAPER, _BY_ACT),
    HomeFile("studies/*.signed", form.STUDY_OFFER, _BY_ACT),
    HomeFile("models/*/*.signed", signed("delivery.v1"), _BY_ACT),
    HomeFile("models/*/*.safetensors", form.SAFETENSORS, _BY_ACT),
    HomeFile("models/*/*", json_of(1), _BY_ACT),
    HomeFile("state/runs.sqlite", sqlite(8, oldest=8), _FOR_GOOD),
    HomeFile("state/notices.sqlite", form.OUTBOX, _LIMITED),
    HomeFile("state/*.questions", json_of(1), _BY_ACT),
    HomeFile("state/**", Form("Flower's own, made anew from members and runs"), _LIMITED, _ANEW),
    HomeFile("log/decisions.jsonl", form.LINES, _FOR_GOOD),
    HomeFile("log/*", form.LINES, _LIMITED),
    HomeFile("console/**", form.ACCOUNTS, _LIMITED, _ANEW),
    HomeFile("run/**", Form("what lives as long as a process"), _PASSING, _OUT),
)
