from dataclasses import replace

from fieldfare.client.daemon.reload import ActiveConfig, changes

ONE = ActiveConfig(
    roster=1,
    roster_hash="r1",
    policy="p1",
    identity="i1",
    epoch=0,
    served=frozenset({"a" * 64, "b" * 64}),
)


def test_nothing_changed() -> None:
    assert list(changes(ONE, ONE)) == []


def test_every_change_is_a_line() -> None:
    two = ActiveConfig(
        roster=2,
        roster_hash="r2",
        policy="p2",
        identity="i2",
        epoch=1,
        served=frozenset({"b" * 64, "c" * 64}),
    )
    assert list(changes(ONE, two)) == [
        "roster version 2 (was 1)",
        "the policy changed: its budget holds from the next release on",
        "another identity signs",
        "ledger epoch 1 (was 0)",
        f"study {'c' * 12} is served",
        f"study {'a' * 12} is no longer served",
    ]


def test_trouble_comes_and_goes() -> None:
    bad = replace(ONE, trouble="expected a roster", served=frozenset())
    assert "nothing is served" in list(changes(ONE, bad))
    assert "studies are served again" in list(changes(bad, ONE))
    assert list(changes(bad, bad)) == []


def test_the_ground_leaves_the_studies_out() -> None:
    assert replace(ONE, served=frozenset()).terms == ONE.terms
    assert replace(ONE, trouble="x").terms != ONE.terms
