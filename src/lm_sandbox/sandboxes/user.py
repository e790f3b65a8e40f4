"""Who a program runs as inside a sandbox."""

from enum import StrEnum

from lm_sandbox.errors import Unsupported


class User(StrEnum):
    """The sandbox's own user, or its own root, which is root of nothing else."""

    SANDBOX = "sandbox"
    ROOT = "root"


def refuse_root(user: User) -> None:
    """Refuses what asks for a root that the sandbox has not got.

    Raises:
        Unsupported: it does.
    """
    if user is User.ROOT:
        raise Unsupported(
            "This sandbox has no root of its own. With the bubblewrap driver, one that is made with an "
            "image, such as 'host', has."
        )
