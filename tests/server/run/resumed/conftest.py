"""A coordinator whose runs a test cuts."""

from pathlib import Path

import pytest
from tests.support.federations.conducted import Coordinator
from tests.support.federations.settings import MakeSetting, make_study

from fieldfare.shared.privacy.protection import Protection


@pytest.fixture
def coordinator(tmp_path: Path, make_setting: MakeSetting) -> Coordinator:
    study = make_study(aggregation={"deadline_seconds": 2.0})
    return Coordinator(tmp_path, make_setting(study, Protection.EXACT))
