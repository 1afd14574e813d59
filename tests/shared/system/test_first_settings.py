"""A settings file that `init` writes holds what it was given, whatever that is."""

import tomllib

import pytest

from fieldfare.shared.system.first_settings import fill_toml


def test_texts_are_quoted_and_comments_stay() -> None:
    superlink, bundles = 'x"\n[other]\\', ('"', "{superlink}")
    text = fill_toml(
        "fieldfare.client.institution", "node.toml", superlink=superlink, bundles=bundles
    )
    found = tomllib.loads(text)
    assert found["superlink"] == superlink
    assert found["bundles"] == list(bundles)
    assert "other" not in found
    assert text.startswith("# What the node")


def test_a_value_that_is_not_given_is_refused() -> None:
    with pytest.raises(KeyError, match="bundles"):
        fill_toml("fieldfare.client.institution", "node.toml", superlink="x:1")
