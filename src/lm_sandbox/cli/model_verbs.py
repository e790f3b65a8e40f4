"""The verbs of `lm-sandbox models`."""

from functools import partial
from typing import Annotated

import typer

from lm_sandbox.cli.program import AsJson, finish, load_settings
from lm_sandbox.cli.scope import enter_scope

MODELS = typer.Typer(help="Language models.", no_args_is_help=True)

ModelName = Annotated[str, typer.Argument(help="Its name, as 'lm-sandbox models list' shows it.")]


@MODELS.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the models of every engine, and the engines that do not answer."""
    from lm_sandbox.cli.models import list_models as show  # noqa: PLC0415 - each verb loads only its own

    enter_scope()
    finish(partial(show, load_settings(), as_json=as_json))


@MODELS.command("show")
def show_model(name: ModelName, as_json: AsJson = False) -> None:
    """Show what is known of a model."""
    from lm_sandbox.cli.models import show_model as show  # noqa: PLC0415

    enter_scope()
    finish(partial(show, load_settings(), name, as_json=as_json))


@MODELS.command("plan")
def plan_model(name: ModelName, as_json: AsJson = False) -> None:
    """Show which GPUs and how much memory a model takes, or would take."""
    from lm_sandbox.cli.models import plan_model as show  # noqa: PLC0415

    enter_scope()
    finish(partial(show, load_settings(), name, as_json=as_json))


@MODELS.command("pull")
def pull_model(
    source: Annotated[str, typer.Argument(help="hf:owner/repo:quant, or what the engine calls it.")],
    engine: Annotated[str, typer.Option(help="Which engine gets it.")] = "llamacpp",
) -> None:
    """Get a model; one that was broken off goes on where it was."""
    from lm_sandbox.cli.models import pull_model as pull  # noqa: PLC0415

    enter_scope()
    finish(partial(pull, load_settings(), source, engine))


@MODELS.command("remove")
def remove_model(name: ModelName) -> None:
    """Delete the files of a model."""
    from lm_sandbox.cli.models import remove_model as remove  # noqa: PLC0415

    enter_scope()
    finish(partial(remove, load_settings(), name))


@MODELS.command("load")
def load_model(
    name: ModelName,
    keep_alive: Annotated[
        float | None, typer.Option(help="Seconds it stays without a request; -1 is for ever.", min=-1)
    ] = None,
) -> None:
    """Load a model in the server that runs here."""
    from lm_sandbox.cli.models import load_model as load  # noqa: PLC0415

    finish(partial(load, load_settings(), name, keep_alive))


@MODELS.command("unload")
def unload_model(name: ModelName) -> None:
    """Free the memory of a model in the server that runs here."""
    from lm_sandbox.cli.models import unload_model as unload  # noqa: PLC0415

    finish(partial(unload, load_settings(), name))
