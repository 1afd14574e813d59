from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.client.home.layout import Home
from fieldfare.client.home.settings import (
    AlertsSection,
    CustodianSection,
    HomeSettings,
    load_settings,
    settings_text,
)
from fieldfare.client.records.settings import FileSource
from fieldfare.shared.errors import StudyError
from fieldfare.shared.study.toml import parse_toml


def parsed(text: str) -> HomeSettings:
    return parse_toml(text, HomeSettings, "institution.toml")


@given(st.text(min_size=1, max_size=64))
def test_any_name_is_kept_exactly_or_refused(name: str) -> None:
    try:
        text = settings_text(name)
    except StudyError:
        assert not name.isprintable() or name != name.strip() or name == "coordinator"
        return
    settings = parsed(text)
    assert (settings.id, settings.population) == (name, name)


@pytest.mark.parametrize(
    "name", ["", "coordinator", "a\nb", "a\x7f", " a", "a" * 65, "a\u202eb", "\udce9"]
)
def test_names_that_mislead_are_refused(name: str) -> None:
    with pytest.raises(StudyError):
        settings_text(name)


def test_init_writes_no_records_and_the_usual_sockets() -> None:
    settings = parsed(settings_text("bank-a"))
    assert settings.records == ()
    assert settings.custodian == CustodianSection(socket="", group="")


def test_the_commented_example_is_right() -> None:
    text = settings_text("bank-a").replace("# [[records]]", "[[records]]")
    for key in ("path", "mapping"):
        text = text.replace(f"# {key} =", f"{key} =")
    assert parsed(text).records == (
        FileSource(path="/srv/records/customers.parquet", mapping="customers.mapping.toml"),
    )


def test_the_population_is_the_institution_unless_it_says_another() -> None:
    assert parsed('id = "a"').population == "a"
    assert parsed('id = "a"\npopulation = "retail"').population == "retail"


def test_every_mistake_is_said_at_once() -> None:
    with pytest.raises(StudyError) as refused:
        parsed(
            'format = 2\nid = 3\n[[records]]\nmapping = ""\n[custodian]\ngroup = "a b"\n'
            f'socket = "{"x" * 108}"\nport = 1'
        )
    keys = {line.split(": ")[1] for line in refused.value.problems}
    assert keys == {
        *("format", "id", "records.0.file.path", "records.0.file.mapping"),
        *("custodian.group", "custodian.socket", "custodian.port"),
    }


@pytest.mark.parametrize(
    ("table", "key", "said"),
    [
        ("custodian", "admin_socket", "it is run/admin.sock of the home"),
        ("alerts", "suppression", "the list is suppression.csv of the home: move it there"),
    ],
)
def test_a_setting_of_earlier_files_is_read_where_it_says_what_holds(
    table: str, key: str, said: str
) -> None:
    plain = settings_text("bank-a").split("[ledger]")[0]
    assert parsed(f'{plain}[{table}]\n{key} = ""\n') == parsed(plain)
    with pytest.raises(StudyError, match=f"{table}: {key}: expected no such key; {said}"):
        parsed(f'{plain}[{table}]\n{key} = "/srv/other"\n')


def test_they_are_read_from_the_home(tmp_path: Path) -> None:
    home = Home.create(tmp_path / "home")
    home.settings.write_text(settings_text("ngo"))
    assert load_settings(home).id == "ngo"


def test_the_queue_is_the_studys_share_and_a_twentieth_unless_said_otherwise() -> None:
    assert parsed('id = "a"').alerts == AlertsSection(
        budget=0, below_line=0.05, quiet_days=30, families={}
    )
    text = 'id = "a"\n[alerts]\nbudget = 7\nfamilies = { wages = "LABOUR" }'
    assert (parsed(text).alerts.budget, parsed(text).alerts.families) == (7, {"wages": "LABOUR"})


@pytest.mark.parametrize(
    "line", ["budget = -1", "below_line = 1.5", "quiet_days = 0.5", 'families = { a = "NONE" }']
)
def test_a_wrong_queue_is_refused(line: str) -> None:
    with pytest.raises(StudyError, match=line.partition(" ")[0]):
        parsed(f'id = "a"\n[alerts]\n{line}')
