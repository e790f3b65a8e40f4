"""PostgreSQL: a pool of connections, each with a bound on how long anything may take."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from lm_sandbox.config.storage import DatabaseSettings
from lm_sandbox.errors import Invalid

SCHEMES = frozenset({"postgres", "postgresql", "postgresql+psycopg"})
# A connection that nobody has heard of for a while is asked about; a peer that is silent for so long is gone.
KEEPALIVES = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
SILENT_MS = 30_000
# What a crashed program has left open must not hold a lock for ever.
FORGOTTEN_MS = 60_000


@dataclass(frozen=True, slots=True)
class PostgreSql:
    """A database on a PostgreSQL server.

    Attributes:
        url: Where it is.
        settings: Bounds.
    """

    url: URL
    settings: DatabaseSettings

    @classmethod
    def read(cls, settings: DatabaseSettings) -> "PostgreSql":
        """Reads the settings.

        Raises:
            Invalid: the URL is of no PostgreSQL.
        """
        text = settings.url.get_secret_value() if settings.url else ""
        try:
            url = make_url(text)
        except ArgumentError as error:
            raise _refusal() from error
        if url.drivername not in SCHEMES:
            raise _refusal()
        return cls(url.set(drivername="postgresql+psycopg"), settings)

    @property
    def migrations_url(self) -> URL:
        """What a program without an event loop connects to."""
        return self.url.update_query_dict({"connect_timeout": str(self._connect_s)})

    def open(self) -> AsyncEngine:
        """Makes the engine.

        Raises:
            Invalid: the driver is not installed.
        """
        if find_spec("psycopg") is None:
            raise Invalid(
                "PostgreSQL needs its driver: pip install 'lm-sandbox[postgres]'.", field="database"
            )
        return create_async_engine(
            self.url,
            pool_size=self.settings.pool,
            max_overflow=self.settings.overflow,
            pool_timeout=self.settings.wait_s,
            # A connection that the server has closed meanwhile is replaced before anybody sees that.
            pool_pre_ping=True,
            connect_args={**self._bounds(), "connect_timeout": self._connect_s},
        )

    @property
    def _connect_s(self) -> int:
        # libpq takes whole seconds, and at least two.
        return max(2, round(self.settings.connect_s))

    def _bounds(self) -> Mapping[str, str | int]:
        session = {
            "timezone": "UTC",
            "statement_timeout": round(self.settings.statement_s * 1000),
            "lock_timeout": round(self.settings.wait_s * 1000),
            "idle_in_transaction_session_timeout": FORGOTTEN_MS,
        }
        options = " ".join(f"-c {name}={value}" for name, value in session.items())
        return {"options": options, "tcp_user_timeout": SILENT_MS, **KEEPALIVES}


def _refusal() -> Invalid:
    return Invalid(
        "The database's URL is not like postgresql://user:password@host/name.", field="database.url"
    )
