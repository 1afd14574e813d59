"""A study may name code that is allowed and installed here, and no other is imported."""

import sys
from pathlib import Path

import pytest
from tests.support.system.packages import LISTED, MODULE, PACKAGE, install

from fieldfare.shared.errors import PackageError, StudyError
from fieldfare.shared.study import allowed_packages
from fieldfare.shared.study.allowed_packages import VARIABLE, class_named, permit, permit_as_told


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch)
    monkeypatch.delitem(sys.modules, "acme_nets", raising=False)


def test_one_class_that_is_allowed_opens_nothing_else_of_its_package() -> None:
    permit([LISTED])
    assert class_named(MODULE, PACKAGE).__name__ == "Small"
    for module in ("acme_nets:Mixing", "acme_nets.maintenance:Net"):
        with pytest.raises(PackageError, match="expected a package that is allowed here"):
            class_named(module, PACKAGE)


def test_what_is_not_allowed_is_not_even_imported() -> None:
    with pytest.raises(PackageError, match="expected a package that is allowed here"):
        class_named("acme_nets:Small", PACKAGE)
    assert "acme_nets" not in sys.modules


def test_what_is_allowed_is_found() -> None:
    permit([PACKAGE])
    assert class_named("acme_nets:Small", PACKAGE).__name__ == "Small"


@pytest.mark.parametrize(
    ("module", "package", "problem"),
    [
        ("os:system", PACKAGE, "expected a module of acme-nets, found 'os', which is none of it"),
        ("acme_nets:Absent", PACKAGE, "expected a class of acme-nets"),
        ("acme_nets.absent:Small", PACKAGE, "expected a class of acme-nets"),
        ("acme_nets:Small", "acme-nets==1.3.0", "installed, found version 1.2.0"),
        ("acme_nets:Small", "other==1", "installed, found version none"),
    ],
)
def test_anything_else_is_refused(module: str, package: str, problem: str) -> None:
    permit([PACKAGE, "acme-nets==1.3.0", "other==1"])
    with pytest.raises(StudyError, match=problem):
        class_named(module, package)


def test_permission_is_for_these_packages_and_no_longer() -> None:
    permit([PACKAGE])
    permit([])
    with pytest.raises(StudyError, match="allowed here"):
        class_named("acme_nets:Small", PACKAGE)


def test_a_process_that_is_started_allows_what_its_command_line_did() -> None:
    permit_as_told({VARIABLE: "acme-nets==1.2.0 b==2"})
    assert allowed_packages._permitted == {PACKAGE, "b==2"}
    permit_as_told({})
    assert allowed_packages._permitted == set()


def test_a_package_that_declares_nothing_is_what_its_files_are(tmp_path: Path) -> None:
    info = tmp_path / "acme_nets-1.2.0.dist-info"
    (info / "top_level.txt").unlink()
    (info / "RECORD").write_text("acme_nets/__init__.py,,\nREADME.txt,,\n")
    permit([PACKAGE])
    assert class_named("acme_nets:Small", PACKAGE).__name__ == "Small"
    (info / "RECORD").write_text("acme.py,,\nREADME.txt,,\n")
    with pytest.raises(StudyError, match="expected a module of acme-nets"):
        class_named("acme_nets:Small", PACKAGE)
