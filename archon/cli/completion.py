"""``archon completion``: print a script that lets a shell complete commands, options and names."""

from __future__ import annotations

import os

import click
from click import shell_completion
from click.shell_completion import BashComplete, CompletionItem, split_arg_string

from archon.cli.console import emit
from archon.cli.options import command

VARIABLE = "_ARCHON_COMPLETE"
"""Environment variable with which a shell asks for completions; ``archon.cli.main`` reads it."""

_BASH = """\
%(complete_func)s() {
    local kind value
    COMPREPLY=()
    while IFS=, read -r kind value; do
        case $kind in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                COMPREPLY+=("$value")
                [[ $value == *[=.:] ]] && compopt -o nospace ;;
        esac
    done < <(env COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" \
%(complete_var)s=bash_complete "$1")
    return 0
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""
_BREAKS = "=:"
"""Characters that end a word in bash, but not in Archon's arguments."""


class Bash(BashComplete):
    """Completion for bash, which breaks ``solver=NAME`` into three words.

    The words are therefore read from the line, and the part of a value that bash keeps is cut off.
    """

    source_template = _BASH

    @staticmethod
    def _check_version() -> None:
        """Accept every version: the script needs bash 4.4, and can be printed without bash."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor, and the incomplete one."""
        line = os.environ["COMP_LINE"].encode()[: int(os.environ["COMP_POINT"])]
        text = line.decode(errors="ignore")
        words = split_arg_string(text)
        is_new = not text or text[-1].isspace()
        self._incomplete = "" if is_new or not words else words[-1]
        return words[1:] if is_new else words[1:-1], self._incomplete

    def format_completion(self, item: CompletionItem) -> str:
        """Return ``kind,value``, without what precedes the last break in the word."""
        word = self._incomplete
        if word.startswith("-") and "=" in word:
            word = word.partition("=")[2]
        cut = max(word.rfind(sign) for sign in _BREAKS) + 1
        value = item.value[cut:] if item.value.startswith(word[:cut]) else item.value
        return f"{item.type},{value}"


def register() -> None:
    """Let click use the classes of this module."""
    shell_completion.add_completion_class(Bash)


@command
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str, as_json: bool) -> None:
    """Print a script that completes commands, options and names in a shell.

    Names are those of the catalogue, of roles, nodes and their parameters, and of runs. To install
    it, let the shell read the script at its start, as the examples show.
    """
    register()
    root = click.get_current_context().find_root().command
    found = shell_completion.get_completion_class(shell)
    assert found is not None
    source = found(root, {}, "archon", VARIABLE).source()
    if as_json:
        emit({"shell": shell, "script": source})
    else:
        print(source)
