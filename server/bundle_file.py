"""The bundle that a coordinator's runs are started with, as its home keeps it.

Institutions list its hash, so an upgrade of this software changes nothing by itself: the
bundle is kept when the coordinator is founded and replaced when it invites anew.
"""

from fieldfare.server.bundle import build_bundle, bundle_hash
from fieldfare.server.home import CoordinatorHome
from fieldfare.shared.errors import KeysError
from fieldfare.shared.private_files import read_public, replace_private


def keep_bundle(home: CoordinatorHome) -> str:
    """Keep the bundle of the installed software; returns its SHA-256, hex.

    Raises:
        OSError: the disk says no.
    """
    content = build_bundle()
    replace_private(home.bundle_file, content)
    replace_private(home.bundle_hash, f"{bundle_hash(content)}\n".encode())
    return bundle_hash(content)


def kept_bundle(home: CoordinatorHome) -> bytes:
    """Return the bundle that runs are started with, the one that institutions list.

    Raises:
        KeysError: missing, or another one than its hash says.
    """
    content = read_public(home.bundle_file)
    listed = read_public(home.bundle_hash).strip().decode(errors="replace")
    if bundle_hash(content) != listed:
        raise KeysError(
            f"{home.bundle_file}: expected the bundle with the hash in {home.bundle_hash.name}, "
            "found another one: restore both from your backup, or invite every institution anew "
            "with `fieldfare coordinator invitation`"
        )
    return content
