"""The Flower bundle that runs are started with: a few texts, no code.

Built here rather than by Flower's tools, so that its hash, which institutions list, depends on
the texts alone: not on a library of compression, a clock, or a version of Flower.
"""

import hashlib
import io
import zipfile
from importlib import resources
from typing import Final

FOLDER: Final = "flower-app"
FILES: Final = ("pyproject.toml", "README.md")  # Flower expects the first one first
MANIFEST: Final = ".info/CONTENT"
_OLDEST: Final = (1980, 1, 1, 0, 0, 0)  # as far back as a zip file's clock goes


def build_bundle() -> bytes:
    """Return the bundle: a zip file that is the same bytes wherever it is built."""
    folder = resources.files("fieldfare.server").joinpath(FOLDER)
    contents = {name: folder.joinpath(name).read_bytes() for name in FILES}
    # Flower's format: path, sha256 and size in bits of every file.
    manifest = "\n".join(
        f"{name},{hashlib.sha256(content).hexdigest()},{len(content) * 8}"
        for name, content in contents.items()
    )
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as archive:
        for name, content in {**contents, MANIFEST: manifest.encode()}.items():
            archive.writestr(_entry(name), content)
    return written.getvalue()


def bundle_hash(bundle: bytes) -> str:
    """Return what institutions list: a bundle's SHA-256, hex."""
    return hashlib.sha256(bundle).hexdigest()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _OLDEST)
    entry.create_system = 3  # Unix, whatever this is
    entry.external_attr = 0o644 << 16
    return entry
