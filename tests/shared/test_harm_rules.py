"""The harm rules: all seven, in the order of docs/design.md, "The harm rules"."""

from fieldfare.shared.harm_rules import HARM_RULES


def test_seven_rules_in_order() -> None:
    words = (
        "victim",
        "indicator",
        "people decide",
        "Nationality",
        "Look-alikes",
        "images",
        "filed",
    )
    assert len(HARM_RULES) == len(words)
    for rule, word in zip(HARM_RULES, words, strict=True):
        assert word in rule
