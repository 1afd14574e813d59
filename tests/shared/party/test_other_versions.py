"""A home is looked through at each opening; a file that nobody touched is parsed once."""

import json
from pathlib import Path

import pytest

from fieldfare.shared.errors import UsageError
from fieldfare.shared.party import other_versions as versions
from fieldfare.shared.party.file_form import json_of
from fieldfare.shared.party.home_files import Growth, HomeFile
from fieldfare.shared.party.other_versions import refuse_other_versions

TABLE = (HomeFile("cards/*.json", json_of(1), Growth.REPLACED),)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "cards").mkdir()
    for number in range(3):
        (tmp_path / "cards" / f"{number}.json").write_text(json.dumps({"format": 1}))
    return tmp_path


def test_an_untouched_file_is_parsed_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_other_versions(home, TABLE)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", None)
        refuse_other_versions(home, TABLE)
    (home / "cards" / "1.json").touch()
    monkeypatch.setattr(Path, "open", None)
    with pytest.raises(TypeError):
        refuse_other_versions(home, TABLE)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_later_one_of_the_same_length_is_found(home: Path, replaced: bool) -> None:
    refuse_other_versions(home, TABLE)
    card = home / "cards" / "1.json"
    target = card.with_name("new") if replaced else card
    target.write_text(json.dumps({"format": 2}))
    target.rename(card)
    with pytest.raises(UsageError, match="expected format 1 or earlier, found 2"):
        refuse_other_versions(home, TABLE)


def test_what_is_kept_is_bounded() -> None:
    assert versions._kept.cache_info().maxsize == versions.MOST_KEPT
