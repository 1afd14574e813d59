import io

import pytest
from tests.support.homes.institutions import Coordinator, home_study
from tests.support.runs.asking import EVERY_KIND, asking
from tests.support.runs.started import STARTED_FEATURES, small_start, starting_at

from fieldfare.client.approvals.review import SpentBudget, review_study
from fieldfare.client.approvals.review_screen import show_review
from fieldfare.client.home.policy import Policy, load_policy
from fieldfare.shared.pages.words import COVERS_NOT
from fieldfare.shared.protocol.comparison import Company
from fieldfare.shared.protocol.roster import Member
from fieldfare.shared.study.study import Study
from fieldfare.shared.terminal.screen import WIDTH, PlainConsole
from fieldfare.simulations.federation.federation import made_here

LINES = 50  # one screen


@pytest.fixture
def policy(coordinator: Coordinator) -> Policy:
    return load_policy(coordinator.homes["bank-a"])


def screen(
    coordinator: Coordinator,
    policy: Policy,
    study: Study,
    *,
    spent: int = 0,
    earlier: Study | None = None,
    members: int = 3,
    company: Company | None = None,
    width: int = WIDTH,
) -> str:
    roster = coordinator.roster()
    more = tuple(Member(id=f"bank-{n:03d}", key=f"{n:064x}") for n in range(members - 3))
    roster = roster.model_copy(update={"members": (*roster.members, *more)})
    company = Company(made_here(roster).known) if company is None else company
    review = review_study(
        study,
        policy,
        roster,
        SpentBudget(yearly=spent, lifetime=spent, promised=10**9),
        institution="bank-a",
        unit="customer",
        status="waits for a decision",
        earlier=earlier,
        company=company,
    )
    to = PlainConsole(file=io.StringIO(), width=width)
    show_review(review, to)
    text = to.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


def test_a_study_that_fits_is_one_screen_of_plain_words(
    coordinator: Coordinator, policy: Policy
) -> None:
    text = screen(coordinator, policy, home_study(), earlier=home_study(privacy__epsilon=0.25))
    assert len(text.splitlines()) <= LINES
    assert max(map(len, text.splitlines())) <= WIDTH
    for said in (
        "small  (waits for a decision)",
        "4 columns. Allowed: customer (unit), reported (label), amount, channel",
        "masks only",
        "epsilon 0.5 at delta 1e-05",
        "left this year: 2;",
        "% of it",
        "other approved studies may still spend 0.",
        "1 of them may collude",
        "(you)",
        "if every mask failed, epsilon",
        "~ privacy.epsilon: 0.25 -> 0.5",
        "immigration enforcement",
        "people decide",
        "it is for you to decide",
    ):
        assert said in text
    words = " ".join(text.split())
    assert "own records hold about a unit: a customer's own statement" in words
    assert COVERS_NOT in words
    person = screen(coordinator, policy, home_study(records__left_out_banks=["A", "B"]))
    assert "It covers the person: every institution leaves out" in " ".join(person.split())
    assert "own statement" not in person
    for member in coordinator.roster().members:
        assert any(line.split()[0] == member.id for line in text.splitlines() if line.strip())


def test_a_terminal_of_80_columns_cuts_nothing_of_what_leaves(
    coordinator: Coordinator, policy: Policy
) -> None:
    text = screen(coordinator, policy, home_study(), width=80)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for title in ("sum of", "times", "spare", "numbers", "bytes", "moves it by", "noise on"):
        assert title in text


def test_what_stands_against_it_is_said(coordinator: Coordinator, policy: Policy) -> None:
    narrow = policy.model_copy(
        update={
            "records": policy.records.model_copy(update={"columns": ("customer", "amount")}),
            "releases": policy.releases.model_copy(update={"kinds": ()}),
        }
    )
    text = screen(coordinator, narrow, home_study(privacy__multiplicity=2), spent=10**15)
    assert "Your policy does not list: reported (label), channel" in text
    assert "training: not allowed" in text
    assert "not enough for this study" in text
    assert "for you to decide" not in text
    for rule in ("privacy.multiplicity", "records.columns", "releases.kinds", "yearly_epsilon"):
        assert f"cannot be approved: {rule}" in text or rule in text


def test_a_large_study_stays_one_screen(coordinator: Coordinator, policy: Policy) -> None:
    features = [
        {"name": f"feature_{n}", "kind": "numeric", "lower": 0, "upper": n + 1} for n in range(300)
    ]
    text = screen(
        coordinator, policy, home_study(features=features), earlier=home_study(), members=200
    )
    assert len(text.splitlines()) <= 2 * LINES
    assert "and 188 more, see --json" in text
    assert "more, see --json" in text


def test_a_studys_own_text_moves_no_cursor_and_sets_no_colour(
    coordinator: Coordinator, policy: Policy
) -> None:
    study = home_study(
        purpose="good [bold red]markup[/] \x1b[2J\x1b[31m\r\u202e end",
        prohibited_uses=["\x1b]0;title\x07"],
        features=[
            {"name": "a [bold]", "kind": "categorical", "levels": ["[red]b"]},  # no marks: refused
        ],
    )
    text = screen(coordinator, policy, study, earlier=home_study())
    assert "[bold red]markup[/]" in text
    assert all(c.isprintable() or c == "\n" for c in text)


def test_a_purpose_is_shown_whole(coordinator: Coordinator, policy: Policy) -> None:
    purpose = " ".join(f"word{n}" for n in range(250))
    text = screen(coordinator, policy, home_study(purpose=purpose))
    assert "word249" in text


def test_what_a_study_asks_is_said_in_words(coordinator: Coordinator, policy: Policy) -> None:
    text = screen(coordinator, policy, asking(*EVERY_KIND))
    assert any(line.startswith("asks ") for line in text.splitlines())
    assert "flagged: count of all where flagged is 1" in text
    assert f"and {len(EVERY_KIND) - 12} more" in text
    assert "month" in text
    assert "band (" not in text  # no record is read for it
    assert "query: not allowed" in text
    assert "only training, evaluation" in text
    assert "\nasks " not in screen(coordinator, policy, home_study())


def test_what_moments_tell_is_said_in_words(coordinator: Coordinator, policy: Policy) -> None:
    text = " ".join(screen(coordinator, policy, home_study(geometry={"kind": "whitened"})).split())
    assert "how features go together, their means and how many units train" in text
    assert "% of the study's mu^2" in text
    assert "moments: not allowed" not in text
    assert "how features go together" not in screen(coordinator, policy, home_study())


def test_where_a_study_starts_is_said(coordinator: Coordinator, policy: Policy) -> None:
    training = starting_at(small_start(), steps=2)
    study = home_study(features=list(STARTED_FEATURES), training=training)
    text = " ".join(screen(coordinator, policy, study).split())
    assert "public:small, made by tests with seed 7, SHA-256" in text
    assert "is shipped as it was" in text
    assert "guard: not allowed" not in text
    assert "starts at" not in screen(coordinator, policy, home_study())


def test_an_unknown_key_and_a_crowd_are_said_before_anybody_approves(
    coordinator: Coordinator, policy: Policy
) -> None:
    text = screen(coordinator, policy, home_study(), company=Company())
    assert text.count(" UNKNOWN") == 2
    flat = " ".join(text.split())
    assert "no run begins with bank-b, bank-c: nobody here compared their keys" in flat
    assert "among them the one that runs it" in flat
    text = screen(coordinator, policy, home_study(privacy__epsilon=1.0), members=20)
    crowd = " ".join(text.split())
    assert "no run begins with all 20 of the roster: at t = 1 at most 12 institutions" in crowd
    assert "UNKNOWN" not in crowd
