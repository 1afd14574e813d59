"""An installed package is known by its files, and one changed byte of them is found."""

import base64
import hashlib
import sys
from pathlib import Path

import pytest

from fieldfare.shared.party.installed_software import (
    InstalledPackage,
    changed_files,
    installed_packages,
)

WHEEL = {
    "acme_thing/__init__.py": "x = 1\n",
    "acme_thing/data.txt": "data\n",
    "acme_thing-1.0.dist-info/METADATA": (
        "Metadata-Version: 2.1\nName: Acme.Thing\nVersion: 1.0\nLicense: {licence}\n"
        "Classifier: License :: OSI Approved :: MIT License\nRequires-Dist: acme_thing\n"
        "Requires-Dist: nowhere; python_version < '3'\n"
    ),
    "acme_thing-1.0.dist-info/WHEEL": (
        "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    ),
}


def install(folder: Path, licence: str = "MIT") -> Path:
    """Lay a package down as an installer does, with what pip adds: a compiled file, a script."""
    files = {name: text.replace("{licence}", licence) for name, text in WHEEL.items()}
    files["../bin/acme"] = f"#!{folder}\n"
    files["acme_thing/__pycache__/__init__.cpython-311.pyc"] = str(folder)
    record = []
    for name, text in files.items():
        path = folder / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        found = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
        record.append(f"{name},sha256={found.rstrip('=')},{len(text)}\n")
    info = folder / "site" / "acme_thing-1.0.dist-info"
    (info / "RECORD").write_text("".join([*record, f"{info.name}/RECORD,,\n"]))
    return folder / "site"


def acme(place: Path, monkeypatch: pytest.MonkeyPatch) -> InstalledPackage:
    monkeypatch.setattr(sys, "path", [str(place)])
    (found,) = [one for one in installed_packages() if one.name == "acme-thing"]
    return found


def test_two_places_with_the_same_files_say_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        with monkeypatch.context() as patch:
            found.append(acme(install(tmp_path / name), patch))
    assert found[0] == found[1]
    assert (found[0].version, found[0].files, found[0].needs) == ("1.0", 2, ("acme-thing",))


@pytest.mark.parametrize(
    ("licence", "said"), [("MIT", "MIT"), ("x" * 300, "MIT License"), ("", "MIT License")]
)
def test_a_licence_is_a_name(
    licence: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = acme(install(tmp_path, licence), monkeypatch)
    assert (found.licence, found.is_expression) == (said, False)


def test_a_changed_byte_and_a_lost_file_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = install(tmp_path)
    monkeypatch.setattr(sys, "path", [str(place)])
    assert changed_files() == ()
    (tmp_path / "bin" / "acme").write_text("#!other\n")
    (place / "acme_thing" / "data.txt").write_text("dbta\n")
    (place / "acme_thing" / "__init__.py").unlink()
    assert changed_files() == (
        "acme-thing: ../bin/acme",
        "acme-thing: acme_thing/__init__.py",
        "acme-thing: acme_thing/data.txt",
    )
