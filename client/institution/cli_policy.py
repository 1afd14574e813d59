"""`fieldfare institution policy check`: the policy in plain words, one screen.

Errors pass through: the root command turns them into exit codes.
"""

import typer

from fieldfare.client.institution.cli_home import DEFAULT_HOME, HomeOption
from fieldfare.client.institution.home import Home
from fieldfare.client.institution.policy import load_policy, pinned_coordinator
from fieldfare.client.institution.policy_text import explain

policy_check_app = typer.Typer(add_completion=False)


@policy_check_app.command("check")
def check(home: HomeOption = DEFAULT_HOME) -> None:
    """Check policy.toml and say what it allows, what that means and where it is weak."""
    opened = Home.open(home)
    policy = load_policy(opened)
    if policy.coordinator or opened.coordinator_key.exists():
        pinned = pinned_coordinator(opened, policy)  # the file and the policy agree
        policy = policy.model_copy(update={"coordinator": pinned})
    typer.echo("\n".join(explain(policy)))
