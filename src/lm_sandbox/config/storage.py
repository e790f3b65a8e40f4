"""Settings of the database, and of how a server ends."""

from pydantic import Field, SecretStr

from lm_sandbox.config.section import Amount, Positive, PositiveSeconds, Section


class DatabaseSettings(Section):
    """Where keys, sandboxes, runs and the like are kept."""

    url: SecretStr | None = Field(
        None,
        description="`postgresql://user:password@host/name` (extra `postgres`); "
        "default: SQLite in the data directory",
    )
    pool: Positive = Field(10, description="connections to PostgreSQL that one server process keeps")
    overflow: Amount = Field(10, description="how many more it opens while all of those are in use")
    wait_s: PositiveSeconds = Field(
        5.0, description="how long a request waits for a connection or a lock, then it is told to come back"
    )
    connect_s: PositiveSeconds = Field(5.0, description="how long connecting to PostgreSQL may take")
    statement_s: PositiveSeconds = Field(30.0, description="how long one statement may take in PostgreSQL")


class StopSettings(Section):
    """What becomes of what is at work when a server is told to stop."""

    grace_s: Positive = Field(
        10,
        description="how long requests may go on after the server was told to stop, in seconds",
    )
    keep_sandboxes: bool = Field(
        False,
        description="whether sandboxes and background commands go on for the next server; where others serve "
        "from the data directory, these take them over in any case",
    )
