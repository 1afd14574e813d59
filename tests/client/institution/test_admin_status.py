import pytest
from pydantic import ValidationError

from fieldfare.client.institution.admin_status import Followed, StudyNow

TOLD = Followed(
    changed=["roster version 2 (was 1)"],
    trouble="",
    left_out=[StudyNow(id="a" * 64, serving=False, reason="approve it again")],
)


def test_what_is_told_is_what_is_read() -> None:
    content = TOLD.to_bytes()
    assert content.startswith(b'{"changed":["roster')  # canonical: sorted, nothing between
    assert Followed.model_validate_json(content) == TOLD


def test_another_format_is_not_read() -> None:
    with pytest.raises(ValidationError):
        Followed.model_validate_json(TOLD.to_bytes().replace(b'"format":1', b'"format":2'))
