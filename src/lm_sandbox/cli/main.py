"""The command line: parses, calls one function, turns errors into messages."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lm_sandbox import __version__
from lm_sandbox.cli.audit_verbs import AUDIT
from lm_sandbox.cli.image_verbs import IMAGES
from lm_sandbox.cli.key_verbs import KEYS
from lm_sandbox.cli.model_verbs import MODELS
from lm_sandbox.cli.program import AsJson, DriverName, finish, load_settings
from lm_sandbox.cli.run_verbs import RUNS
from lm_sandbox.cli.sandbox_verbs import SANDBOXES
from lm_sandbox.cli.scope import enter_scope
from lm_sandbox.cli.user_verbs import USERS
from lm_sandbox.cli.volume_verbs import VOLUMES

app = typer.Typer(
    help="Gives local language models a computer: models and isolated sandboxes behind one API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(KEYS, name="keys")
app.add_typer(USERS, name="users")
app.add_typer(SANDBOXES, name="sandbox")
app.add_typer(VOLUMES, name="volumes")
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
    workers: Annotated[int, typer.Option(min=1, max=64, help="Server processes on this address.")] = 1,
    profile: Annotated[
        Path | None, typer.Option(help="Write here, as a web page, what took the time; needs pyinstrument.")
    ] = None,
) -> None:
    """Serve the API over HTTP."""
    from lm_sandbox.cli.serve import serve as serve_http  # noqa: PLC0415
    from lm_sandbox.cli.workers import serve_by_workers  # noqa: PLC0415

    enter_scope()

    async def forever() -> int:
        settings = load_settings(host=host, port=port)
        if workers > 1:
            await serve_by_workers(settings, workers)
        else:
            await serve_http(settings, profile)
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


@app.command("backup")
def back_up(
    file: Annotated[Path, typer.Argument(help="Where it is written; nothing may be there.")],
    as_json: AsJson = False,
) -> None:
    """Write keys, runs, snapshots, uploads and the audit to one file; servers may run meanwhile."""
    from lm_sandbox.cli.backup import back_up as write  # noqa: PLC0415

    finish(partial(write, load_settings(), file, as_json=as_json))


@app.command("restore")
def restore(
    file: Annotated[Path, typer.Argument(help="What 'backup' has written.")], as_json: AsJson = False
) -> None:
    """Fill an empty data directory and database from a backup."""
    from lm_sandbox.cli.backup import restore as read  # noqa: PLC0415

    finish(partial(read, load_settings(), file, as_json=as_json))


@app.command()
def verify(
    driver: DriverName = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="Attempts of this group.")] = None,
    as_json: AsJson = False,
) -> None:
    """Try to break out of a sandbox on this machine, and report what held."""
    from lm_sandbox.cli.verify import report  # noqa: PLC0415

    enter_scope()
    finish(partial(report, load_settings(driver=driver), only or [], as_json=as_json))


@app.command("engine-proxy")
def engine_proxy(
    listen: Annotated[Path, typer.Option(help="The socket that the server is given.")],
    name: Annotated[
        str, typer.Option(help="The server's name; it sees what was made under this name only.")
    ] = "lm-sandbox",
) -> None:
    """Let a server use the Docker engine of docker.socket for sandboxes, and for nothing else."""
    from lm_sandbox.cli.engine_proxy import serve_engine  # noqa: PLC0415

    finish(partial(serve_engine, load_settings(), listen, name))


@app.command()
def top(
    every_s: Annotated[float, typer.Option("--every", min=0.2, help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Watch sandboxes, runs, models and GPUs of the server that runs here."""
    from lm_sandbox.cli.top import watch  # noqa: PLC0415

    finish(partial(watch, load_settings(), every_s, once=once, as_json=as_json))


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Options of the program itself."""
    if version:
        typer.echo(__version__)
        raise typer.Exit
