import pytest

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.transcript.file import Misfit, MisfitError, expect


@pytest.mark.parametrize(
    ("misfit", "place"),
    [
        (Misfit(line=1, kind="header", reason="-"), "line 1: header"),
        (Misfit(line=9, leaf=7, kind="offer", reason="-"), "line 9: offer (leaf 7)"),
        (
            Misfit(line=9, leaf=7, kind="reply", institution="bank-b", step=3, reason="-"),
            "line 9: reply of bank-b (leaf 7, step 3)",
        ),
    ],
)
def test_a_place_is_said_in_words(misfit: Misfit, place: str) -> None:
    assert misfit.place == place
    assert str(MisfitError(misfit)) == f"{place}: -"


def test_a_misfit_is_told_to_programs() -> None:
    misfit = Misfit(line=9, leaf=7, kind="reply", institution="bank-b", step=3, reason="why")
    assert Misfit(**misfit.as_dict()) == misfit


def test_what_differs_is_said_with_both_values() -> None:
    expect("a step", 3, 3)
    with pytest.raises(ProtocolError, match="expected a step: 3; found: 4"):
        expect("a step", 3, 4)
