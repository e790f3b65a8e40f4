"""The seam to a database system: how its engine is made, and what its migrations connect to."""

from typing import Protocol

from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine


class Backend(Protocol):
    """A database of one system."""

    @property
    def migrations_url(self) -> URL:
        """What a program without an event loop connects to."""
        ...

    def open(self) -> AsyncEngine:
        """Makes the engine with its pool; nothing is connected before it is used.

        Raises:
            Invalid: the system's driver is not installed.
        """
        ...
