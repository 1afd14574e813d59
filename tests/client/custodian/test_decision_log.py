"""The decision log of simulations writes nothing."""

from pathlib import Path
from typing import cast

import pytest

from fieldfare.client.custodian.ports import DecisionLog, NoLog
from fieldfare.client.ledger.budget import Position
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.protocol.messages import Request


def test_no_log_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log: DecisionLog = NoLog()
    request = cast("Request", None)  # not even looked at
    log.requested(request)
    log.refused(RefusalCode.MALFORMED, "rule", request, asked=1, limit=0)
    log.released(request, 1, Position(sequence=1, head="a" * 64, cumulative=1, epoch=1))
    log.approved("study", "approval", "user")
    assert not [*tmp_path.iterdir()]
