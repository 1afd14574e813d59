"""Codes mean a channel: the closest form first, the institution's own before the standard's."""

from pathlib import Path

import pytest

from fieldfare.client.records.canonical_bank import Channel, MemoCategory
from fieldfare.client.records.importers.bank_codes import codes_with, own_codes, standard_codes
from fieldfare.shared.errors import UsageError


@pytest.mark.parametrize(
    ("code", "channel"),
    [
        ("PMNT/CCRD/CWDL", "ATM_WD"), ("PMNT/CCRD/POSD", "POS"), ("PMNT/RCDT/ESCT", "ACH"),
        ("PMNT/RCDT/CHRG", "FEE"), ("SECU/SETT/TRAD", ""), ("ACMT/MCOP/INTR", ""),
        ("PMNT/OTHR/OTHR", None), ("PRTRY/NTRF", None),
    ],
)  # fmt: skip
def test_what_a_code_means(code: str, channel: str | None) -> None:
    assert standard_codes().channel(code) == channel


def test_every_meaning_is_canonical() -> None:
    codes = standard_codes()
    assert set(codes.channels.values()) <= {"", *Channel}
    assert set(codes.purposes.values()) <= set(MemoCategory)
    assert codes.memo("RENT") is MemoCategory.RENT
    assert codes.memo("ZZZZ") is MemoCategory.OTHER
    assert codes.memo(None) is None


def test_an_institutions_own_codes_come_first(tmp_path: Path) -> None:
    path = tmp_path / "codes.toml"
    path.write_text('[channels]\n"PRTRY/NTRF" = "WIRE"\n"PMNT/CCRD/POSD" = ""\n')
    codes = codes_with(own_codes(path))
    assert codes.channel("PRTRY/NTRF") == "WIRE"
    assert codes.channel("PMNT/CCRD/POSD") == ""
    assert codes.channel("PMNT/CCRD/CWDL") == "ATM_WD"


@pytest.mark.parametrize(
    ("text", "said"),
    [("[channels", "TOML"), ("a = 1", "one table"), ('[channels]\n"A" = "GIFT"', "expected"),
     ('[channels]\n"A" = ["WIRE"]', "expected"), ("[channels]\n[channels.A]", "expected"),
     ("channels = 1", "one table")],
)  # fmt: skip
def test_other_files_of_codes_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "codes.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        own_codes(path)
    with pytest.raises(UsageError):
        own_codes(tmp_path / "none.toml")
