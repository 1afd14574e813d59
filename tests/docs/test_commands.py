"""The reference of commands says what `--help` says, on a page for each group."""

import click
from docs.site.commands import pages, prose


@click.command(help="Do one thing.\n\nIt costs <nothing> and *stays*.\n\n\b\na  b\nc  d")
@click.argument("FILE")
@click.option("--out", metavar="DIR", required=True, help="Where to; `none` for nowhere.")
@click.option("--often", default=3, show_default=True, help="How often.")
def one(**_: object) -> None: ...


@click.command(hidden=True)
def secret() -> None: ...


def tree() -> dict[str, str]:
    inner = click.Group("inner", commands={"one": one}, help="What lies below.")
    return dict(pages(click.Group(commands={"one": one, "inner": inner, "secret": secret}), "top"))


def test_each_group_has_a_page_with_its_commands() -> None:
    found = tree()
    assert list(found) == ["reference/cli/top.md", "reference/cli/top-inner.md"]
    assert "- [`top inner`](top-inner.md): What lies below." in found["reference/cli/top.md"]
    assert "## top one\n" in found["reference/cli/top.md"]
    assert "## top inner one\n" in found["reference/cli/top-inner.md"]
    assert "secret" not in "".join(found.values())


def test_a_command_has_its_use_its_words_and_its_options() -> None:
    page = tree()["reference/cli/top.md"]
    assert "```text\ntop one [OPTIONS] FILE\n```" in page
    assert "`--out DIR`\n: Where to; `none` for nowhere. \\[required\\]" in page
    assert "`--often INTEGER`\n: How often. \\[default: 3\\]" in page
    assert "It costs \\<nothing\\> and \\*stays\\*." in page
    assert "```text\na  b\nc  d\n```" in page
    assert "--help" not in page


def test_prose_reads_as_it_was_written() -> None:
    assert prose("a_b\n  `c_d` [e]") == "a\\_b `c_d` \\[e\\]"
