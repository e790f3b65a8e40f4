"""Writes the pages that say what the code says: the command line and the HTTP API."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from lm_sandbox.app import create_app
from lm_sandbox.cli.main import app as command_line
from lm_sandbox.config.settings import Settings

Schema = Mapping[str, Any]
METHODS = ("get", "put", "post", "patch", "delete", "head", "options")
DEEPEST = 3


def cli_page() -> str:
    """Returns every command with its arguments and options."""
    lines = [
        "# The command line",
        "",
        "`lm-sandbox COMMAND --help` says the same. `--json` prints for programs.",
    ]
    root = typer.main.get_command(command_line)
    if not isinstance(root, TyperGroup):
        raise TypeError("the command line is no group of commands")
    for name, command in _commands(root, "lm-sandbox"):
        lines += ["", f"## {name}", "", str(command.help or "").strip().replace("\b", "")]
        context = command.make_context(name, [], resilient_parsing=True)
        lines += ["", "```text", command.get_usage(context).removeprefix("Usage: "), "```"]
        rows = [row for one in command.params if (row := _parameter(one, context))]
        if rows:
            lines += ["", "| option | what it is |", "| --- | --- |", *rows]
    return "\n".join(lines) + "\n"


def _commands(group: TyperGroup, name: str) -> Iterator[tuple[str, TyperCommand]]:
    for own, command in sorted(group.commands.items()):
        if command.hidden:
            continue
        if isinstance(command, TyperGroup):
            yield from _commands(command, f"{name} {own}")
        elif isinstance(command, TyperCommand):
            yield f"{name} {own}", command


def _parameter(parameter: object, context: Any) -> str | None:  # noqa: ANN401 - Typer's own, which it does not name
    if isinstance(parameter, TyperOption) and not parameter.hidden and parameter.name != "help":
        record = parameter.get_help_record(context)
        return f"| `{_line(record[0])}` | {_cell(record[1])} |" if record else None
    if isinstance(parameter, TyperArgument) and parameter.help:
        return f"| `{str(parameter.name).upper()}` | {_cell(parameter.help)} |"
    return None


def http_page() -> str:
    """Returns every route with its parameters, its body and its answers, from the OpenAPI document."""
    with tempfile.TemporaryDirectory() as folder:
        document = create_app(Settings(data_dir=Path(folder))).openapi()
    schemas = document.get("components", {}).get("schemas", {})
    lines = [
        "# The HTTP API in full",
        "",
        "Made from the OpenAPI document that a server gives at `/openapi.json`. [The HTTP API](api.md) explains it.",
    ]
    by_tag: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method in METHODS:
            if method in operations:
                operation = operations[method]
                tag = (operation.get("tags") or ["other"])[0]
                by_tag.setdefault(tag, []).extend(_operation(method, path, operation, schemas))
    for tag in sorted(by_tag):
        lines += ["", f"## {tag}", *by_tag[tag]]
    return "\n".join(lines) + "\n"


def _operation(method: str, path: str, operation: Schema, schemas: Schema) -> list[str]:
    lines = [
        "",
        f"### `{method.upper()} {path}`",
        "",
        operation.get("description") or operation.get("summary", ""),
    ]
    rows = [
        f"| `{one['name']}` | {one['in']} | {_type(one.get('schema', {}))} | {_cell(one.get('description'))} |"
        for one in operation.get("parameters", ())
    ]
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        rows += list(_fields(content.get("schema", {}), schemas, kind))
    if rows:
        lines += ["", "| name | where | type | what it is |", "| --- | --- | --- | --- |", *rows]
    answers = ", ".join(f"`{status}`" for status in operation.get("responses", {}))
    return [*lines, "", f"Answers: {answers}"]


def _fields(schema: Schema, schemas: Schema, kind: str, prefix: str = "", depth: int = 0) -> Iterator[str]:
    schema = _resolved(schema, schemas)
    where = "form" if "form" in kind else "body"
    for name, told in schema.get("properties", {}).items():
        own = _resolved(told, schemas)
        needed = " (needed)" if name in schema.get("required", ()) else ""
        about = _cell(told.get("description") or own.get("description"))
        yield f"| `{prefix}{name}` | {where} | {_type(told)}{needed} | {about} |"
        if depth < DEEPEST and "properties" in own:
            yield from _fields(own, schemas, kind, f"{prefix}{name}.", depth + 1)


def _resolved(schema: Schema, schemas: Schema) -> Schema:
    if "$ref" in schema:
        found: Schema = schemas.get(schema["$ref"].rsplit("/", 1)[-1], {})
        return found
    choices = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    return _resolved(choices[0], schemas) if len(choices) == 1 else schema


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1].rsplit("__", 1)[-1]
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return " or ".join(dict.fromkeys(_type(one) for one in choices))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "any"))


def _cell(text: object) -> str:
    return _line(str(text or "").strip().split("\n\n")[0]).replace("<", "&lt;")


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
