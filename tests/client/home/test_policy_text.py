import math
import re
from typing import Any

import numpy as np
import pytest
from scipy import stats

from fieldfare.client.home.policy import Policy, study_limit
from fieldfare.client.home.policy_explained import explain, policy_text, warnings
from fieldfare.shared.errors import StudyError
from fieldfare.shared.protocol.identity import fingerprint
from fieldfare.shared.study.toml import parse_toml
from fieldfare.shared.terminal.texts import NARROW

KINDS = '["training", "evaluation", "fairness", "guard", "moments"]'

KEY = "a1" * 32


def policy_with(*changes: tuple[str, str]) -> Policy:
    """The policy that `init` writes, finished, with lines of it replaced."""
    text = policy_text(KEY).replace("\ncolumns = []", '\ncolumns = ["id", "label", "amount"]')
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse_toml(text, Policy, "policy.toml")


def test_what_init_writes_is_weak_in_nothing_and_says_what_is_unfinished() -> None:
    fresh = list(warnings(parse_toml(policy_text(), Policy, "policy.toml")))
    assert [line.split(" ")[0] for line in fresh] == ["coordinator", "records.columns"]
    assert list(warnings(policy_with())) == []
    assert explain(policy_with())[-1] == "nothing to warn of"


WEAK: list[tuple[tuple[str, str], str]] = [
    (('["id", "label", "amount"]', '["*"]'), "every column"),
    (("minimum_units = 100", "minimum_units = 49"), "minimum_units"),
    (('"amount"]', '"amount", "date_of_birth"]'), "harm rule 4"),
    (
        (KINDS, '["training"]'),
        "lacks evaluation",
    ),
    (
        (KINDS, "[]"),
        "lacks training and evaluation",
    ),
    (("yearly_epsilon = 2.0", "yearly_epsilon = 4.0001"), "yearly_epsilon"),
    (("lifetime_epsilon = 6.0", "lifetime_epsilon = 11"), "lifetime_epsilon"),
    (("delta = 1e-5", "delta = 2e-4"), "budget.delta"),
    (("minimum_units = 100", "minimum_units = 2000000"), "budget.delta"),
]


@pytest.mark.parametrize(("change", "said"), WEAK, ids=lambda item: str(item[-1]))
def test_each_weak_setting_is_warned_of(change: tuple[str, str], said: str) -> None:
    (found,) = warnings(policy_with(change))
    assert said in found


def test_a_weak_study_budget_is_warned_of() -> None:
    changes = [
        ("study_epsilon = 1.0", "study_epsilon = 3"),
        ("yearly_epsilon = 2.0", "yearly_epsilon = 3"),
    ]
    (found,) = warnings(policy_with(*changes))
    assert found.startswith("budget.study_epsilon = 3 is above 2")


def test_a_budget_for_nothing_is_warned_of() -> None:
    changes = [
        (f"{name}_epsilon = ", f"{name}_epsilon = 1e-6 #")
        for name in ("study", "yearly", "lifetime")
    ]
    policy = policy_with(*changes, ("delta = 1e-5", "delta = 1e-30"))
    assert study_limit(policy) == 0
    assert any("too small for any release" in line for line in warnings(policy))
    assert "room for" not in "\n".join(explain(policy))


def test_it_is_one_screen() -> None:
    names = ", ".join(f'"column_{i}"' for i in range(40))
    worst = policy_with(
        ('"id", "label", "amount"', names),
        ("minimum_units = 100", "minimum_units = 9"),
        ("study_epsilon = 1.0", "study_epsilon = 9"),
        ("yearly_epsilon = 2.0", "yearly_epsilon = 9"),
        ("lifetime_epsilon = 6.0", "lifetime_epsilon = 100"),
        ("delta = 1e-5", "delta = 0.09"),
    )
    assert len(explain(policy_with())) <= 24
    assert len(explain(worst)) <= 40
    assert max(map(len, explain(worst))) <= NARROW


def test_the_whole_policy_is_told() -> None:
    text = re.sub(r"\s+", " ", " ".join(explain(policy_with())))
    for said in (
        fingerprint(bytes.fromhex(KEY)),
        "a person approves every study",
        "one study at most epsilon 1 any",
        "at most epsilon 2: room for 3 studies",
        "at most epsilon 6: room for 23 studies",
        "at delta 1e-05",
        "at least 3 institutions in every sum, of which 1 may collude and 2 do not",
        "training and evaluation and fairness and guard and moments (how features go together",
        "at least 100 of your own",
        "3: id, label, amount",
    ):
        assert said in text
    every = " ".join(explain(policy_with(('["id", "label", "amount"]', '["*"]'))))
    assert "every column of your records" in every


def told_guesses(policy: Policy) -> list[float]:
    text = re.sub(r"\s+", " ", " ".join(explain(policy)))
    (said,) = re.findall(r"At most (.*) ever", text)
    return [float(value) for value in re.findall(r"[\d.]+(?= %)", said)]


def test_the_best_guesser_is_right_as_often_as_told() -> None:
    """Phi(mu/2) for Gaussian releases; and the likelihood-ratio test itself, played out."""
    once, yearly, ever = told_guesses(policy_with())
    for told, mu2 in ((once, 0.071851), (yearly, 0.25155), (ever, 1.71485)):
        exact = 100 * float(stats.norm.cdf(math.sqrt(mu2) / 2))
        assert exact <= told <= exact + 0.11
    mu, random = math.sqrt(1.71485), np.random.default_rng(5)
    inside = random.integers(0, 2, 200_000)
    seen = random.normal(size=inside.size) + mu * inside
    assert 100 * float(np.mean((seen > mu / 2) == inside)) == pytest.approx(ever, abs=0.4)


def test_no_guesser_is_right_more_than_always() -> None:
    values: dict[str, Any] = {"study": 1.0, "yearly": 2.0, "lifetime": 6.0}
    changes = [(f"{n}_epsilon = {v}", f"{n}_epsilon = 100") for n, v in values.items()]
    assert told_guesses(policy_with(*changes)) == [100.0] * 3


def test_column_names_move_no_cursor() -> None:
    with pytest.raises(StudyError, match="expected signs that can be seen"):
        policy_with(('"amount"', r'"am\u001bount"'))
    policy = policy_with(('"amount"', r'"am\ue01b\u2003ount"'))
    assert all(line.isprintable() for line in explain(policy))
