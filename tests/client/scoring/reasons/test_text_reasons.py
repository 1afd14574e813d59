import numpy as np
import pytest

from fieldfare.client.scoring.reasons import SHOWN, TextReasons, on_grid
from fieldfare.shared.features.text_hashing import TextEncoder
from fieldfare.shared.models.linear import row_scores

PARAMETERS = np.random.default_rng(0).normal(0, 2, 513)


@pytest.mark.parametrize("text", ["", "free cash", "Бесплатно! 😀 " * 40, "ฟรี", "a"])
def test_grams_add_up_to_the_score_to_the_last_bit(text: str) -> None:
    found = TextReasons.of(text, PARAMETERS)
    total = found.base
    for _, part in (*found.raises, *found.lowers):
        total += part
    assert total + found.others == found.score
    assert found.score == on_grid(row_scores(PARAMETERS, TextEncoder(512).rows([text])))[0]
    assert len(found.raises) <= SHOWN >= len(found.lowers)
    assert all(part > 0 for _, part in found.raises)
    assert all(part < 0 for _, part in found.lowers)


def test_a_text_is_shown_without_control_characters_and_in_no_repr() -> None:
    found = TextReasons.of("free\u202e\x1b[2J cash", PARAMETERS)
    said = "\n".join(found.lines())
    assert "word        'cash'" in said
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert "cash" not in repr(found)
