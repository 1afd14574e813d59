"""Case rows become summaries of those who agreed; names and narratives stay where they are."""

from datetime import date
from pathlib import Path

import pytest
from tests.support.records.imports import SAMPLES, holds_no_marker, imported, rows_of

from fieldfare.client.records.sources.mapping import ColumnMapping
from fieldfare.shared.errors import RecordsError

FILE = SAMPLES / "htcds.csv"


def test_those_who_agreed_are_summarised(tmp_path: Path) -> None:
    lines = imported("htcds", [FILE], tmp_path)
    assert lines[0] == "read 4 cases; left out: 2 without consent to research use"
    first, last = rows_of(tmp_path, "cases")
    assert first == {
        "case_id": "C-1", "opened": date(2025, 1, 2), "status": "Active",
        "trafficking_status": "PossibleVictimOfTrafficking", "age_band": "9--17",
        "exploitation": ["ForcedLabour", "Servitude"], "control": ["DebtBondage", "TakesEarnings"],
        "recruit_method": "AtWork", "relation": "Acquainted", "industry": "A",
        "support_needs": ["Housing"], "consent_research": True,
    }  # fmt: skip
    assert (last["case_id"], last["age_band"]) == ("C-4", "9--17")
    assert last["support_needs"] == ["Health", "Legal"]
    assert any("missing, not zero: org_id, region_recruit" in line for line in lines)


def test_harm_rule_6_names_and_narratives_are_not_carried_over(tmp_path: Path) -> None:
    imported("htcds", [FILE], tmp_path / "out")
    assert holds_no_marker(tmp_path / "out")
    mapping = ColumnMapping(columns={"venue_category": "prs_Narrative"})
    with pytest.raises(RecordsError, match="harm rule 6"):
        imported("htcds", [FILE], tmp_path / "other", mapping=mapping)


@pytest.mark.parametrize(
    ("age", "band"),
    [("0", "0--8"), ("8", "0--8"), ("18", "18--20"), ("29", "27--29"), ("47", "39--47"),
     ("48", "48+"), ("90", "48+"), ("24--26", "24--26")],
)  # fmt: skip
def test_ages_become_bands(tmp_path: Path, age: str, band: str) -> None:
    path = tmp_path / "one.csv"
    path.write_text(FILE.read_text().replace("Trafficking,17,", f"Trafficking,{age},"))
    imported("htcds", [path], tmp_path / "out")
    assert rows_of(tmp_path / "out", "cases")[0]["age_band"] == band


def test_other_names_and_signs_are_declared(tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    path.write_text(
        "No|Since|cas_Status|vic_TraffickingStatus|Agreed|Town\n"
        "7|2025-01-01|Active|ActualVictimOfTrafficking|yes|Port Alder\n"
    )
    columns = {"case_id": "No", "opened": "Since", "consent_research": "Agreed",
               "region_exploit": "Town"}  # fmt: skip
    mapping = ColumnMapping(columns=columns, separator="|")
    imported("htcds", [path], tmp_path / "out", mapping=mapping)
    (case,) = rows_of(tmp_path / "out", "cases")
    assert (case["case_id"], case["region_exploit"]) == ("7", "Port Alder")
    with pytest.raises(RecordsError, match="expected fields of a case summary, found gender"):
        imported("htcds", [path], tmp_path / "no", mapping=ColumnMapping(columns={"gender": "No"}))


@pytest.mark.parametrize(
    ("old", "new", "line", "column"),
    [
        ("C-4,2025-01-05", "C-4,5 January", 5, "cas_DateOpened"),
        ("C-2,", "two words,", 3, "cas_ID"),
        (",Closed,", ",Shut,", 3, "cas_Status"),
        ("ForcedLabour;", "ForcedLaughter;", 2, "vic_TypeOfExploitation"),
        (",no\n", ",perhaps\n", 3, "con_NonIdentifyingResearchUse"),
        (",A,Housing", ",Farms,Housing", 2, "vic_ForcedLabourIndustry"),
        ("Trafficking,17,", "Trafficking,young,", 2, "vic_AgeWhenTrafficked"),
        ("Trafficking,17,", f"Trafficking,{'9' * 5000},", 2, "vic_AgeWhenTrafficked"),
    ],
)
def test_what_cannot_be_read_is_named_by_line(
    tmp_path: Path, old: str, new: str, line: int, column: str
) -> None:
    path, text = tmp_path / "bad.csv", FILE.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(
        RecordsError, match=rf"bad\.csv, line {line}: expected a {column}"
    ) as caught:
        imported("htcds", [path], tmp_path / "out")
    assert "Marker" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_file_that_does_not_say_who_agreed_is_refused(tmp_path: Path) -> None:
    path, column = tmp_path / "one.csv", "con_NonIdentifyingResearchUse"
    path.write_text(FILE.read_text().replace(column, "other"))
    with pytest.raises(RecordsError, match=f"line 1: expected columns {column}"):
        imported("htcds", [path], tmp_path / "out")
    path.write_text(FILE.read_text().replace("spl_Type", "spl_Kind"))
    with pytest.raises(RecordsError, match="columns of the files before"):
        imported("htcds", [FILE, path], tmp_path / "out")
