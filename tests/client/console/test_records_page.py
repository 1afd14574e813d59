"""The records' health in a browser: rounded counts and drift, and never a value."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.support.homes.consoles import Browser, ConsoleBench, desk
from tests.support.homes.institutions import home_study

from fieldfare.client.desk.model_reading import about, share
from fieldfare.client.home.layout import Home
from fieldfare.client.records.health import column_profiles, keep_profile, profile_at
from fieldfare.shared.cli.root import run
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.features.basis import encode_categorical, encode_numeric

STUDY = home_study()
SCRIPT = "<script>window.ran = 1</script>"
NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)


def kept_counts(home: Home, days: int, shift: float, rows: int = 12_345) -> None:
    """Keep counts of so many rows as of some days ago, one column of which moved."""
    amount, channel = STUDY.features
    random = np.random.default_rng(days)
    numbers = encode_numeric(amount, random.normal(4 + shift, 1, rows))  # type: ignore[arg-type]
    levels = encode_categorical(channel, random.integers(0, 2, rows))  # type: ignore[arg-type]
    first, second = column_profiles(STUDY, [np.stack([numbers, levels])])
    columns = [first, second.model_copy(update={"name": SCRIPT})]
    keep_profile(home.health, STUDY, profile_at(columns, rows, 0, NOW - timedelta(days)))


@pytest.fixture
def edda(home: Home, console: ConsoleBench) -> Browser:
    found = Browser(desk(home.path, console))
    console.log_in(found, console.enrolled("edda", ConsoleRole.EXAMINER))
    return found


def test_coverage_and_drift_are_shown_rounded(home: Home, edda: Browser) -> None:
    assert "No records have been read yet" in edda.shown("/records")
    kept_counts(home, 40, 0.0)
    text = edda.shown("/records")
    assert "About 12,000 rows on 2026-01-28" in text
    assert "There is no earlier day" in text
    kept_counts(home, 9, 0.0)
    assert "No column moved" in edda.shown("/records")
    kept_counts(home, 0, 1.5)
    page, text = edda.get("/records").text, edda.shown("/records")
    assert "1 of 2 columns moved: amount" in " ".join(text.split())
    assert "moved much" in text
    assert "First seen on 2026-01-28" in text
    assert "12,345" not in text
    assert SCRIPT not in page
    assert SCRIPT in text


def test_a_damaged_file_is_said(home: Home, edda: Browser) -> None:
    home.health.write_text("[]")
    home.health.chmod(0o600)
    assert "move it away" in edda.shown("/records")


def test_a_check_of_own_sources_keeps_counts_and_one_of_other_files_none(
    home: Home, edda: Browser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, records = tmp_path / "study.toml", tmp_path / "records.csv"
    study.write_text(
        'name = "t"\npurpose = "p"\nprivacy = {epsilon = 1, delta = 1e-5}\n'
        'records = {unit = "customer", label = "reported", units = 10, prevalence = 0.1}\n'
        '[[features]]\nkind = "numeric"\nname = "amount"\nlower = 0\nupper = 10\n'
    )
    records.write_text("customer,amount,reported\nMARKER-1,3.14159,1\nMARKER-2,,0\n")
    own = ("institution", "records", "check", str(study), "--home", str(home.path))
    assert run([*own, "--records", str(records)]) == 0
    assert not home.health.exists()
    source = f'[[records]]\npath = "{records}"\nunit = "customer"\n'
    home.settings.write_text(f"{home.settings.read_text()}\n{source}")
    assert run(own) == 0, capsys.readouterr()
    content = home.health.read_text()
    assert '"rows":2' in content
    assert "MARKER" not in content
    assert "3.14" not in content
    text = edda.shown("/records")
    assert "Under 100 rows" in text
    assert "50 %" in text


def test_no_number_of_few_rows_is_told() -> None:
    assert [about(one) for one in (0, 7, 99, 100, 149, 12_345, 987_654)] == [
        "no", "under 100", "under 100", "about 100", "about 150", "about 12,000", "about 990,000",
    ]  # fmt: skip
    shares = [share(part, 1_000) for part in (0, 3, 10, 500, 990, 997, 1_000)]
    assert shares == [
        "under 1 %", "under 1 %", "1 %", "50 %", "99 %", "over 99 %", "over 99 %",
    ]  # fmt: skip
    assert share(0, 0) == "under 1 %"
