"""The next command to type, as a line that can be copied."""

import shlex

import click
from click.core import ParameterSource


def at_home(command: str) -> str:
    """Return a command with the `--home` that the present one was given on its own line.

    A home that an environment variable names, or the default one, is found again without it.
    """
    context = click.get_current_context(silent=True)
    if context is None:
        return command
    if context.get_parameter_source("home") is not ParameterSource.COMMANDLINE:
        return command
    return f"{command} --home {shlex.quote(str(context.params['home']))}"
