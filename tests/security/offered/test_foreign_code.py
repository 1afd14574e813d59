"""A coordinator names code; nothing of it runs before a person here listed it and said yes.

The package leaves a marker wherever it is imported, as code that does harm would.
"""

import sys
from pathlib import Path

import pytest
from tests.support.homes.institutions import (
    NAMES,
    NOW,
    Coordinator,
    OpenCustody,
    coordinator,
    custody_of,
    home_study,
    loaded,
)
from tests.support.system.packages import CODE, LISTED, MODEL, PACKAGE, install

from fieldfare.client.approvals.approval import approve, check_before_records
from fieldfare.client.approvals.approval_status import sum_spent
from fieldfare.client.custodian.ports import HelloAnswer
from fieldfare.client.institution.institution import open_institution
from fieldfare.client.records.load import check_records
from fieldfare.client.records.settings import tables_of
from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import PackageError, RefusalCode, StudyError
from fieldfare.shared.models import check_module
from fieldfare.shared.protocol.messages import Refusal
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.allowed_packages import permit
from fieldfare.shared.study.study import Study

__all__ = ["coordinator", "custody_of"]

NAME = NAMES[0]
STUDY = home_study(model=MODEL)


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package is installed and listed here; importing any of it touches this file."""
    install(tmp_path, monkeypatch)
    mark = tmp_path / "imported"
    touch = f"open({str(mark)!r}, 'a').close()\n"
    for name, code in (("__init__", CODE), ("maintenance", "class Net: pass\n")):
        (tmp_path / "acme_nets" / f"{name}.py").write_text(touch + code)
    for name in ("acme_nets", "acme_nets.maintenance"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return mark


@pytest.fixture
def listed(coordinator: Coordinator) -> Coordinator:
    policy = coordinator.homes[NAME].policy
    coordinator.edit(policy, "packages = []", f'packages = ["{LISTED}"]')
    return coordinator


def typed(coordinator: Coordinator, study: Study, command: str) -> int:
    file = coordinator.file("sent.study", coordinator.signed(study))
    return run(["institution", *command.split(), str(file), "--home", str(home(coordinator))])


def home(coordinator: Coordinator) -> Path:
    return coordinator.homes[NAME].path


def test_nothing_is_imported_before_an_approval(
    marker: Path, listed: Coordinator, custody_of: OpenCustody
) -> None:
    custody = custody_of()
    custody.inbox.study_offered(listed.signed(STUDY), STUDY)
    assert custody.custodian.describe(STUDY.id) == Refusal(RefusalCode.UNKNOWN_STUDY)
    for command in ("import", "review"):
        assert typed(listed, STUDY, command) == 0, command
    kept, institution = listed.receive(STUDY), custody.institution
    spent = sum_spent(custody.ledger, STUDY, [], institution.roster, NOW)
    plan = check_before_records(institution, STUDY, spent)
    assert plan.training.parameter_entries == plan.training.vectors.entries == 146
    sources = institution.settings.records
    tables = tables_of(sources, STUDY, folder=institution.home.path, environment={})
    assert check_records(tables, STUDY, today=NOW.date()).loads
    assert not marker.exists()
    approve(custody, kept, loaded(custody, STUDY), "tester", NOW)  # a person typed it
    assert marker.exists()
    assert isinstance(custody.custodian.describe(STUDY.id), HelloAnswer)


@pytest.mark.parametrize("module", ["acme_nets.maintenance:Net", "acme_nets:Mixing", "os:system"])
def test_nothing_else_of_a_listed_package_is_ever_imported(
    marker: Path, listed: Coordinator, custody_of: OpenCustody, module: str
) -> None:
    study, custody = home_study(model=MODEL | {"module": module}), custody_of()
    custody.inbox.study_offered(listed.signed(study), study)
    assert typed(listed, study, "review") == 0
    with pytest.raises(PackageError, match=r"lists 'acme-nets==1\.2\.0:"):
        loaded(custody, study)
    assert not marker.exists()


def test_a_size_that_is_not_the_modules_ends_at_its_first_use(
    marker: Path, listed: Coordinator, custody_of: OpenCustody
) -> None:
    study = home_study(model=MODEL | {"parameters": 144})
    assert plan_for(study).training.vectors.entries == 145
    assert not marker.exists()
    with pytest.raises(StudyError, match=r"model\.parameters: expected 145.*found 144"):
        loaded(custody_of(), study)
    permit([PACKAGE])
    with pytest.raises(StudyError, match=r"model\.parameters: expected 145"):
        check_module(study)  # as `propose` and `study check` do
    assert open_institution(home(listed)).policy.models.packages == (LISTED,)
