"""The pages that are read off the program: its verbs with their options, its public names."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from typing import Any

import typer
from typer.main import get_command

from convsmith.cli.main import VERBS

MODULES = ("convsmith", "convsmith.arithmetic", "convsmith.draw", "convsmith.nn")

_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields):$")


def command_line() -> str:
    """A section for each verb, a table of its options in each."""
    parts = [
        "# Command line",
        "Made from the program itself when this site is built. Results go to standard output, "
        "everything else to standard error; nothing is overwritten without `--force`. Exit codes: "
        "0 done, 1 failed, 2 wrong usage. A model is `torchvision:NAME`, `timm:NAME`, "
        "`package.module:callable`, `file.py:callable` or a `.pt2` file.",
    ]
    for name, verb in VERBS.items():
        given = import_module(verb.module).command
        if not isinstance(given, typer.Typer):
            app = typer.Typer(add_completion=False, rich_markup_mode=None)
            app.command(name)(given)
            given = app
        parts += _command(get_command(given), f"convsmith {name}", 2)
    return "\n\n".join(parts) + "\n"


def _command(command: Any, program: str, level: int) -> list[str]:
    context = command.make_context(program, [], resilient_parsing=True)
    usage = re.sub(r"[{}]", "", " ".join([program, *command.collect_usage_pieces(context)]))
    parts = [f"{'#' * level} {program.removeprefix('convsmith ')}", _plain(command.help or "")]
    inner = getattr(command, "commands", None)
    if inner:
        for name, each in inner.items():
            parts += _command(each, f"{program} {name}", level + 1)
        return parts
    rows = [_option(each, context) for each in command.params if each.name != "help"]
    return [
        *parts,
        f"```text\n{usage}\n```",
        _table(("Option", "What it does"), [row for row in rows if row]),
    ]


def _option(parameter: Any, context: Any) -> tuple[str, str] | None:
    record = parameter.get_help_record(context)
    if record is None:
        return None
    names, told = record
    named = ", ".join(f"`{name}`" for name in re.split(r", | / ", names))
    told = re.sub(r"\[default: ([^\]]*)\]", r"Default: \1.", _plain(told))
    return named.replace("|", "\\|"), told


def _plain(text: str) -> str:
    return " ".join(inspect.cleandoc(text).split()).replace("|", "\\|")


def _table(heads: tuple[str, ...], rows: list[tuple[str, str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", "|---|---|"]
    return "\n".join(lines + [f"| {first} | {second} |" for first, second in rows])


def names() -> str:
    """A section for each public name: its signature and its docstring."""
    parts = ["# Python", "Every public name, its signature and its docstring."]
    seen: set[int] = set()
    for path in MODULES:
        module = import_module(path)
        parts += [f"## {path}"]
        for name in sorted(module.__all__, key=str.lower):
            value = getattr(module, name)
            if inspect.ismodule(value) or name.startswith("_") or not callable(value):
                continue
            if id(value) not in seen:
                parts += [f"### {name}", *_described(name, value)]
            seen.add(id(value))
    return "\n\n".join(parts) + "\n"


def _described(name: str, value: Any) -> list[str]:
    try:
        signature = _signature(name, value)
    except (TypeError, ValueError):
        signature = name
    parts = [f"```python\n{signature}\n```", markdown(inspect.getdoc(value) or "")]
    if inspect.isclass(value) and not issubclass(value, BaseException):
        rows = []
        for member, own in sorted(vars(value).items()):
            told = inspect.getdoc(own) if isinstance(own, property) or callable(own) else None
            if not member.startswith("_") and told:
                call = "" if isinstance(own, property) else "()"
                rows.append((f"`.{member}{call}`", _plain(told.split("\n\n")[0])))
        if rows:
            parts.append(_table(("Member", "What it is"), rows))
    return parts


class _Bare:
    """What a signature shows as it is, without quotes."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _signature(name: str, value: Any) -> str:
    told = inspect.signature(value)
    given = [_shown(each) for each in told.parameters.values()]
    result = told.empty if inspect.isclass(value) else told.return_annotation
    arrow = "" if result in (told.empty, "None") else f" -> {result}"
    line = f"{name}{inspect.Signature(given)}{arrow}"
    if len(line) <= 88:
        return line
    lines = [str(each) for each in given]
    by_name = [at for at, each in enumerate(given) if each.kind is each.KEYWORD_ONLY]
    if by_name and not any(each.kind is each.VAR_POSITIONAL for each in given):
        lines.insert(by_name[0], "*")
    return f"{name}(\n{''.join(f'    {each},{chr(10)}' for each in lines)}){arrow}"


def _shown(parameter: inspect.Parameter) -> inspect.Parameter:
    kind, default = parameter.annotation, parameter.default
    if isinstance(kind, str):
        parameter = parameter.replace(annotation=_Bare(kind))
    if inspect.isfunction(default):
        parameter = parameter.replace(default=_Bare(default.__name__))
    return parameter


def markdown(docstring: str) -> str:
    """A docstring of ours as Markdown: sections become lists, examples become code.

    >>> markdown("Args:\\n    a: what,\\n        and how.")
    '**Args**\\n\\n- `a`: what, and how.'
    >>> markdown("Do it.\\n\\n>>> 1\\n1")
    'Do it.\\n\\n```pycon\\n>>> 1\\n1\\n```'
    """
    blocks: list[str] = []
    for block in re.split(r"\n\s*\n", docstring):
        lines = block.splitlines()
        head = _SECTION.match(lines[0].strip()) if lines else None
        if head:
            blocks.append(f"**{head[1]}**\n\n" + "\n".join(_items(lines[1:])))
        elif lines and lines[0].lstrip().startswith(">>>"):
            code = inspect.cleandoc("\n".join(lines))
            if blocks and blocks[-1].startswith("```pycon"):
                blocks[-1] = blocks[-1].removesuffix("\n```") + f"\n{code}\n```"
            else:
                blocks.append(f"```pycon\n{code}\n```")
        else:
            blocks.append(inspect.cleandoc(block))
    return "\n\n".join(blocks)


def _items(lines: list[str]) -> list[str]:
    """`name: text` with continued lines, as a list."""
    deep = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    items: list[str] = []
    for line in lines:
        if len(line) - len(line.lstrip()) > deep and items:
            items[-1] += " " + line.strip()
        else:
            name, colon, told = line.strip().partition(": ")
            items.append(f"- `{name}`: {told}" if colon else f"- {line.strip()}")
    return items
