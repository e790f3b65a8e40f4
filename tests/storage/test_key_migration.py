"""Databases of earlier versions are brought forward with all that is in them."""

import hashlib
import hmac

import pytest
from sqlalchemy import create_engine, text

from lm_sandbox.identity.keys import KeyStore
from lm_sandbox.identity.principals import Scope
from lm_sandbox.storage.backend import Backend
from lm_sandbox.storage.database import Database, migrate

pytestmark = pytest.mark.anyio

TOKEN = "lms_a-key-from-before"


async def test_keys_from_before_they_had_records_of_their_own_still_work(backend: Backend) -> None:
    migrate(backend, "0004")
    engine = create_engine(backend.migrations_url)
    row = {
        "lookup": hashlib.sha256(b"lookup:" + TOKEN.encode()).hexdigest()[:8],
        "salt": b"s" * 16,
        "digest": hmac.digest(b"s" * 16, TOKEN.encode(), "sha256"),
    }
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO api_keys (id, name, prefix, lookup, salt, digest, scopes, created_at) VALUES"
                " ('key_1', 'old', 'lms_a-ke', :lookup, :salt, :digest, 'models', '2026-01-01 00:00:00')"
            ),
            row,
        )
    engine.dispose()
    async with Database(backend) as database:
        principal = await KeyStore(database).authenticate(TOKEN)
    assert (principal.id, principal.scopes) == ("key_1", frozenset({Scope.MODELS, Scope.FILES}))
