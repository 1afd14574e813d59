"""Founding an institution: its home, keys, policy and settings, all of them or none.

The settings are written last. Without them a home does not open, so one that was left half
made is never taken for a whole one.
"""

from pathlib import Path

from fieldfare.client.institution.home import Home
from fieldfare.client.institution.keys import create_keys
from fieldfare.client.institution.policy import check_public_key
from fieldfare.client.institution.policy_text import policy_text
from fieldfare.client.institution.settings import settings_text
from fieldfare.shared.private_files import create_private


def found_institution(
    path: Path, institution: str, *, passphrase: bytes | None = None, coordinator: str = ""
) -> Home:
    """Make an institution's home with everything that `init` promises.

    Args:
        path: a new or an empty folder.
        institution: its id, as it will stand on the roster.
        passphrase: of the identity; None leaves it unprotected but for the file's mode.
        coordinator: the coordinator's public key, hex, to pin; empty: pinned later.

    Raises:
        StudyError: `institution` may not name an institution.
        KeysError: `coordinator` is no key.
        UsageError: something is there already; nothing is overwritten.
        OSError: the disk or a folder says no.
    """
    settings = settings_text(institution)  # checked before anything is made
    if coordinator:
        check_public_key(coordinator, "coordinator's key")
    home = Home.create(path)
    create_keys(home, passphrase)
    create_private(home.policy, policy_text(coordinator).encode())
    if coordinator:
        create_private(home.coordinator_key, f"{coordinator}\n".encode())
    create_private(home.settings, settings.encode())
    return home
