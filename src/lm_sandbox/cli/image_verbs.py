"""The verbs of `lm-sandbox images`."""

from functools import partial
from typing import Annotated

import typer

from lm_sandbox.cli.program import AsJson, finish, load_settings
from lm_sandbox.cli.scope import enter_scope

IMAGES = typer.Typer(help="What sandboxes can be made of.", no_args_is_help=True)

ImageName = Annotated[str, typer.Argument(help="Its name, such as debian-12.")]


@IMAGES.command("list")
def list_images(as_json: AsJson = False) -> None:
    """List the images."""
    from lm_sandbox.cli.images import list_images as show  # noqa: PLC0415 - each verb loads only its own

    enter_scope()
    finish(partial(show, load_settings(), as_json=as_json))


@IMAGES.command("import")
def import_image(
    name: ImageName,
    source: Annotated[
        str,
        typer.Argument(
            help="An OCI or Docker archive, an OCI layout, a root file system as a tar file or a folder, or "
            "where skopeo finds it, such as docker://debian:12."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Import an image."""
    from lm_sandbox.cli.images import import_image as bring  # noqa: PLC0415

    enter_scope()
    finish(partial(bring, load_settings(), name, source, as_json=as_json))


@IMAGES.command("remove")
def remove_image(name: ImageName) -> None:
    """Remove an imported image."""
    from lm_sandbox.cli.images import remove_image as remove  # noqa: PLC0415

    enter_scope()
    finish(partial(remove, load_settings(), name))
