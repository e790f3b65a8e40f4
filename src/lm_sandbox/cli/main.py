"""The command line: parses, calls one function, turns errors into messages."""

from functools import partial
from typing import Annotated

import typer

from lm_sandbox import __version__
from lm_sandbox.cli.audit_verbs import AUDIT
from lm_sandbox.cli.image_verbs import IMAGES
from lm_sandbox.cli.key_verbs import KEYS
from lm_sandbox.cli.model_verbs import MODELS
from lm_sandbox.cli.program import AsJson, DriverName, finish, load_settings
from lm_sandbox.cli.run_verbs import RUNS
from lm_sandbox.cli.scope import enter_scope

app = typer.Typer(
    help="Gives local language models a computer: models and isolated sandboxes behind one API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
sandbox = typer.Typer(help="Sandboxes of the server that runs here.", no_args_is_help=True)
app.add_typer(KEYS, name="keys")
app.add_typer(sandbox, name="sandbox")
app.add_typer(IMAGES, name="images")
app.add_typer(MODELS, name="models")
app.add_typer(RUNS, name="runs")
app.add_typer(AUDIT, name="audit")


@app.command()
def run(
    prompt: Annotated[str, typer.Argument(help="What to ask.")],
    model: Annotated[str | None, typer.Option("--model", "-m", help="Which model to ask.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask a model that may run bash in a sandbox, and watch it."""
    from lm_sandbox.cli.run import run_prompt  # noqa: PLC0415 - each command loads only its own

    enter_scope()
    finish(partial(run_prompt, load_settings(), prompt, model, as_json=as_json))


@app.command("exec")
def execute(
    command: Annotated[str, typer.Argument(help="What bash runs.")],
    timeout_s: Annotated[float | None, typer.Option("--timeout", help="Wall time in seconds.")] = None,
    allow: Annotated[
        list[str] | None, typer.Option("--allow-domain", help="What it may reach, such as pypi.org.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a command in a new sandbox; its exit status is this one's."""
    from lm_sandbox.cli.exec import run_command  # noqa: PLC0415

    enter_scope()
    finish(partial(run_command, load_settings(), command, timeout_s, allow or [], as_json=as_json))


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
) -> None:
    """Serve the API over HTTP."""
    from lm_sandbox.cli.serve import serve as serve_http  # noqa: PLC0415

    enter_scope()

    async def forever() -> int:
        await serve_http(load_settings(host=host, port=port))
        return 0

    finish(forever)


@app.command("mcp")
def serve_mcp(
    url: Annotated[
        str | None, typer.Option(help="A server elsewhere; its key in LM_SANDBOX_API_KEY.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--sandbox", help="Work in the sandbox of this name, and leave it there.")
    ] = None,
) -> None:
    """Serve MCP on standard input and output, to a program that starts this one."""
    from lm_sandbox.cli.mcp import serve_stdio  # noqa: PLC0415

    enter_scope()
    finish(partial(serve_stdio, load_settings(), url, name))


@app.command()
def doctor(
    security: Annotated[bool, typer.Option("--security", help="Say what is open instead.")] = False,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended, as root.")] = False,
    sure: Annotated[bool, typer.Option("--yes", help="With --fix: do not ask first.")] = False,
    driver: DriverName = None,
    as_json: AsJson = False,
) -> None:
    """Say what this host gives, what it lacks, and how to mend it."""
    if fix and (security or as_json):
        raise typer.BadParameter("it goes with neither --security nor --json", param_hint="--fix")
    if security:
        from lm_sandbox.cli.security import examine_security  # noqa: PLC0415

        finish(partial(examine_security, load_settings(), as_json=as_json))
    from lm_sandbox.cli.doctor import examine, mend  # noqa: PLC0415

    enter_scope()
    settings = load_settings(driver=driver)
    finish(partial(mend, settings, sure=sure) if fix else partial(examine, settings, as_json=as_json))


@app.command()
def verify(driver: DriverName = None, as_json: AsJson = False) -> None:
    """Try to break out of a sandbox on this machine, and report what held."""
    from lm_sandbox.cli.verify import report  # noqa: PLC0415

    enter_scope()
    finish(partial(report, load_settings(driver=driver), as_json=as_json))


SandboxName = Annotated[str, typer.Argument(help="Its id or its name.")]


@sandbox.command("list")
def list_sandboxes(as_json: AsJson = False) -> None:
    """List your sandboxes."""
    from lm_sandbox.cli.sandbox import list_sandboxes as show  # noqa: PLC0415

    finish(partial(show, load_settings(), as_json=as_json))


@sandbox.command("create")
def create_sandbox(
    name: Annotated[str | None, typer.Option(help="A name, unique among yours.")] = None,
    snapshot: Annotated[str | None, typer.Option(help="Start with the files of this snapshot.")] = None,
    image: Annotated[str | None, typer.Option(help="What it is made of, such as host.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a sandbox and print its id."""
    from lm_sandbox.cli.sandbox import create_sandbox as create  # noqa: PLC0415

    given = {"name": name, "snapshot": snapshot, "image": image}
    body = {key: value for key, value in given.items() if value is not None}
    finish(partial(create, load_settings(), body, as_json=as_json))


@sandbox.command("show")
def show_sandbox(name: SandboxName, as_json: AsJson = False) -> None:
    """Show what holds a sandbox and what it uses."""
    from lm_sandbox.cli.sandbox import show_sandbox as show  # noqa: PLC0415

    finish(partial(show, load_settings(), name, as_json=as_json))


@sandbox.command("pause")
def pause_sandbox(name: SandboxName) -> None:
    """Halt every process of a sandbox where it stands."""
    _act(name, "pause")


@sandbox.command("resume")
def resume_sandbox(name: SandboxName) -> None:
    """Let a paused sandbox run again."""
    _act(name, "resume")


@sandbox.command("stop")
def stop_sandbox(name: SandboxName) -> None:
    """End every process of a sandbox and keep its files."""
    _act(name, "stop")


@sandbox.command("start")
def start_sandbox(name: SandboxName) -> None:
    """Let a stopped sandbox run again."""
    _act(name, "start")


@sandbox.command("delete")
def delete_sandbox(names: Annotated[list[str], typer.Argument(help="Ids or names.")]) -> None:
    """Delete sandboxes with all that is in them."""
    from lm_sandbox.cli.sandbox import delete_sandbox as delete  # noqa: PLC0415

    finish(partial(delete, load_settings(), names))


@sandbox.command("terminal", context_settings={"ignore_unknown_options": True})
def use_terminal(
    name: SandboxName,
    command: Annotated[list[str] | None, typer.Argument(help="Instead of a login shell.")] = None,
    terminal: Annotated[str | None, typer.Option("--id", help="Come back to this terminal.")] = None,
    view: Annotated[bool, typer.Option("--view", help="Only look; type nothing.")] = False,
) -> None:
    """Be in a sandbox as in this terminal; ctrl-] leaves, and the program goes on."""
    from lm_sandbox.cli.terminal import use_terminal as use  # noqa: PLC0415

    finish(partial(use, load_settings(), name, terminal, command or [], view=view))


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Options of the program itself."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


def _act(name: str, action: str) -> None:
    from lm_sandbox.cli.sandbox import act  # noqa: PLC0415

    finish(partial(act, load_settings(), name, action))
