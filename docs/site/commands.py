"""The reference of the command line, from the commands themselves: a page for each group."""

import re
from collections.abc import Iterator
from typing import Final

import click

from fieldfare.shared.cli.root import SECTIONS, LazyGroup, root

FOLDER: Final = "reference/cli"
Named = list[tuple[click.Command, click.Context]]
KEPT: Final = "\b"  # click's mark of a paragraph whose lines stay as they are
_MARKUP: Final = re.compile(r"([\\*_<>\[\]#|$])")


def pages(group: click.Group = root, name: str = "fieldfare") -> Iterator[tuple[str, str]]:
    """Yield each group's page as path and Markdown, the root's first; loads every command."""
    yield from _pages(group, click.Context(group, info_name=name))


def _pages(group: click.Group, ctx: click.Context) -> Iterator[tuple[str, str]]:
    below = [(one, click.Context(one, info_name=one.name, parent=ctx)) for one in _own(group, ctx)]
    groups: Named = [pair for pair in below if isinstance(pair[0], click.Group)]
    leaves: Named = [pair for pair in below if not isinstance(pair[0], click.Group)]
    parts = [f"# {ctx.command_path}", *_told(group, ctx), *_listed(groups, leaves)]
    for one, inner in leaves:
        parts += [f"## {inner.command_path}", *_told(one, inner)]
    if groups:
        parts += ["```{toctree}\n:hidden:\n" + "\n".join(_slug(i) for _, i in groups) + "\n```"]
    yield f"{FOLDER}/{_slug(ctx)}.md", "\n\n".join(parts) + "\n"
    for one, inner in groups:
        if isinstance(one, click.Group):
            yield from _pages(one, inner)


def _own(group: click.Group, ctx: click.Context) -> Iterator[click.Command]:
    """Yield what Fieldfare has below a group, in order of work; not what other packages add."""
    known = {name for section in SECTIONS.values() for name in section}
    for name in group.list_commands(ctx):
        path = f"{ctx.command_path} {name}".split()[1:]
        added = isinstance(group, LazyGroup) and ".".join(path) not in known
        command = None if added else group.get_command(ctx, name)
        if command is not None and not command.hidden:
            command.name = name
            yield command


def _slug(ctx: click.Context) -> str:
    return ctx.command_path.replace(" ", "-")


def _listed(groups: Named, leaves: Named) -> list[str]:
    lines = [f"- [`{i.command_path}`](#{_slug(i)}): {_said(one)}" for one, i in leaves]
    lines += [f"- [`{i.command_path}`]({_slug(i)}.md): {_said(one)}" for one, i in groups]
    return ["\n".join(lines)] if lines else []


def _said(command: click.Command) -> str:
    return prose((command.help or "").strip().partition("\n\n")[0])


def _told(command: click.Command, ctx: click.Context) -> list[str]:
    usage = " ".join([ctx.command_path, *command.collect_usage_pieces(ctx)])
    options = [one for one in command.params if one.name != "help"]  # each has it
    records = [found for one in options if (found := one.get_help_record(ctx))]
    terms = [f"`{term}`\n: {prose(_unescaped(said)) or '-'}" for term, said in records]
    return [*_paragraphs(command.help or ""), f"```text\n{usage}\n```", *terms]


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        kept = paragraph.startswith(KEPT)
        yield f"```text\n{paragraph[2:]}\n```" if kept else prose(paragraph)


def _unescaped(said: str) -> str:
    return said.replace("\\[", "[")  # typer escapes brackets for rich


def prose(text: str) -> str:
    """Return plain text as one line of Markdown that reads the same; text in backticks is code."""
    pieces = " ".join(text.split()).split("`")
    return "`".join(p if n % 2 else _MARKUP.sub(r"\\\1", p) for n, p in enumerate(pieces))
