"""`fieldfare institution policy check|allow`: explain the policy; allow what a study needs.

Errors pass through: the root command turns them into exit codes.
"""

from pathlib import Path
from typing import Annotated

import typer

from fieldfare.client.institution.building import open_institution
from fieldfare.client.institution.cli_home import (
    DEFAULT_HOME,
    EXIT_DECLINED,
    HomeOption,
    agreed,
)
from fieldfare.client.institution.cli_studies import meant_study
from fieldfare.client.institution.home import Home
from fieldfare.client.institution.policy import load_policy, pinned_coordinator
from fieldfare.client.institution.policy_allowing import allowing
from fieldfare.client.institution.policy_text import explain
from fieldfare.shared.plan import plan_for
from fieldfare.shared.private_files import replace_private
from fieldfare.shared.study import Study, load_study

policy_check_app = typer.Typer(add_completion=False)
policy_allow_app = typer.Typer(add_completion=False)


@policy_check_app.command("check")
def check(home: HomeOption = DEFAULT_HOME) -> None:
    """Check policy.toml and say what it allows, what that means and where it is weak."""
    opened = Home.open(home)
    policy = load_policy(opened)
    if policy.coordinator or opened.coordinator_key.exists():
        pinned = pinned_coordinator(opened, policy)  # the file and the policy agree
        policy = policy.model_copy(update={"coordinator": pinned})
    typer.echo("\n".join(explain(policy)))


@policy_allow_app.command("allow")
def allow(
    which: Annotated[
        str, typer.Argument(metavar="STUDY", help="Its file, or first digits of one that arrived.")
    ],
    home: HomeOption = DEFAULT_HOME,
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing: it was looked at before.")
    ] = False,
) -> None:
    """Show what policy.toml lacks for a study, ask, and add it; comments stay.

    It adds columns, kinds of sums, packages and budget. It approves nothing: that is another
    command, after `review`.
    """
    opened = Home.open(home)
    study = _study(home, which)
    before = opened.policy.read_text(encoding="utf-8")
    found = allowing(before, str(opened.policy), plan_for(study))
    for objection in found.left:
        typer.echo(f"left to you: {objection}")
    if not found.added:
        typer.echo(f"{opened.policy} allows all else that {study.name} needs: nothing to add")
        return
    typer.echo(f"{study.name} needs in {opened.policy}:")
    typer.echo("\n".join(f"  {line}" for line in found.added))
    typer.echo("\n".join(["", *found.diff(before), ""]))
    if not yes and not agreed("Write this?"):
        typer.echo("nothing was written")
        raise typer.Exit(EXIT_DECLINED)
    replace_private(opened.policy, found.text.encode())
    typer.echo("written; a running custodian sees it within two seconds")


def _study(home: Path, which: str) -> Study:
    path = Path(which)
    if path.suffix == ".toml" and path.is_file():
        return load_study(path)
    return meant_study(open_institution(home), which)
