"""`lm-sandbox doctor --security`: what is open, and how to close it."""

import ipaddress
import json
import stat
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lm_sandbox.config.settings import Settings
from lm_sandbox.identity.key_records import ApiKey, KeyState
from lm_sandbox.identity.keys import KeyStore
from lm_sandbox.identity.local_key import local_key
from lm_sandbox.identity.principals import Scope
from lm_sandbox.sandboxes.driver import Check
from lm_sandbox.storage.database import Database, backend_of
from lm_sandbox.storage.sqlite import Sqlite

PAGE = 100
UNUSED = timedelta(days=90)
EVERYBODY = {"*", "0.0.0.0/0", "::/0"}


async def examine_security(settings: Settings, *, as_json: bool) -> int:
    """Prints what was looked at; returns 1 where something is open that should not be."""
    checks = [*look_at_settings(settings), *look_at_files(settings), *look_at_keys(await _keys(settings))]
    if as_json:
        print(json.dumps({"checks": [asdict(check) for check in checks]}))  # noqa: T201
    else:
        _print(checks)
    return 1 if any(check.required and not check.ok for check in checks) else 0


def look_at_settings(settings: Settings) -> Iterator[Check]:
    """Looks at what the server would do."""
    loopback, tls = _is_loopback(settings.host), settings.tls_cert is not None
    yield Check(
        "encryption",
        loopback or tls or bool(settings.trusted_proxies),
        f"listens on {settings.host}, {'with' if tls else 'without'} TLS",
        "Keys and outputs can be read on the way: set tls_cert and tls_key, or let a proxy in front do it.",
    )
    yield Check(
        "proxies",
        not EVERYBODY & set(settings.trusted_proxies),
        ", ".join(settings.trusted_proxies) or "none is believed",
        "Everybody can choose the address that limits count for: name the proxies in trusted_proxies.",
    )
    yield Check(
        "web pages",
        "*" not in settings.allowed_origins,
        ", ".join(settings.allowed_origins) or "only the server's own",
        "Every page may call this server: name those that need it in allowed_origins.",
    )
    yield Check(
        "key guessing",
        settings.limits.address_failures_per_minute > 0,
        f"{settings.limits.address_failures_per_minute} wrong keys a minute from one address (0: no limit)",
        "Set limits.address_failures_per_minute.",
    )
    yield Check(
        "floods",
        min(settings.limits.address_requests_per_minute, settings.limits.address_connections) > 0,
        f"{settings.limits.address_requests_per_minute} requests a minute and "
        f"{settings.limits.address_connections} connections from one address (0: no limit)",
        "Set limits.address_requests_per_minute and limits.address_connections.",
        required=False,
    )
    yield Check(
        "isolation",
        settings.sandbox.require_cgroups,
        "the driver refuses hosts that cannot limit memory and processes"
        if settings.sandbox.require_cgroups
        else "limits may be weaker than promised",
        "Set sandbox.require_cgroups.",
    )


def look_at_files(settings: Settings) -> Iterator[Check]:
    """Looks at who may read what is secret."""
    secret = {
        "data directory": settings.data_dir,
        "local key": local_key(settings).path,
        "database": settings.data_dir / "lm-sandbox.db",
        "settings": Path("lm-sandbox.toml"),
        ".env": Path(".env"),
        "TLS key": settings.tls_key,
    }
    for name, path in secret.items():
        if path is None or not path.exists():
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        # Settings need not have secrets in them.
        held = name not in {"settings", ".env"}
        wide = mode & (stat.S_IRWXG | stat.S_IRWXO)
        fix = f"Others on this machine may read it: chmod go= on the {name}."
        yield Check(name, not wide, f"mode {mode:04o}", fix, required=held)


def look_at_keys(keys: Sequence[ApiKey], now: datetime | None = None) -> Iterator[Check]:
    """Looks at who may come in."""
    now = now or datetime.now(UTC)
    live = [key for key in keys if key.state(now) is KeyState.ACTIVE]
    admins = [key for key in live if Scope.ADMIN in key.scopes and key.name != "local"]
    endless = [key for key in admins if key.expires_at is None]
    idle = [key for key in live if now - (key.last_used_at or key.created_at) > UNUSED]
    yield Check(
        "admin keys",
        not endless,
        f"{len(admins)} besides this machine's own, {len(endless)} without an end",
        f"Let them expire, or give them fewer scopes: {_names(endless)}.",
        required=False,
    )
    yield Check(
        "forgotten keys",
        not idle,
        f"{len(live)} keys work, {len(idle)} were not used for {UNUSED.days} days",
        f"Revoke what nobody needs: {_names(idle)}.",
        required=False,
    )


async def _keys(settings: Settings) -> list[ApiKey]:
    backend = backend_of(settings.database, settings.data_dir)
    if isinstance(backend, Sqlite) and not backend.path.exists():
        return []
    found: list[ApiKey] = []
    more = True
    async with Database(backend) as database:
        while more:
            after = found[-1].id if found else None
            page, more = await KeyStore(database).page(after=after, limit=PAGE)
            found += page
    return found


def _print(checks: Sequence[Check]) -> None:
    console = Console(highlight=False)
    table = Table("", "check", "seen", title="Security", title_justify="left")
    for check in checks:
        mark = "[green]ok[/]" if check.ok else "[red]open[/]" if check.required else "[yellow]weak[/]"
        table.add_row(mark, check.name, check.detail)
    console.print(table)
    for check in checks:
        if not check.ok:
            console.print(f"[bold]{check.name}[/]: {check.fix}", soft_wrap=True)


def _names(keys: Sequence[ApiKey]) -> str:
    return ", ".join(f"{key.id} ({key.name})" for key in keys)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
