"""What may be asked for: turns requests into specifications, within the server's bounds. Pure."""

from dataclasses import replace

from lm_sandbox.config.cores import parse_cores, plain_cores
from lm_sandbox.config.sandboxes import SandboxSettings
from lm_sandbox.errors import Invalid, TooLarge
from lm_sandbox.sandboxes.commands import CommandRequest
from lm_sandbox.sandboxes.limits import ASKED_AS, LASTING, MIB, LimitChange, Limits, changed
from lm_sandbox.sandboxes.sandbox import Lifetime, NewCommand

BASH = "/bin/bash"


def default_limits(settings: SandboxSettings) -> Limits:
    """Returns the limits of a sandbox that asks for none, which are also the most one may ask for."""
    return Limits(
        cpus=settings.cpus,
        memory_bytes=settings.memory_mib * MIB,
        pids=settings.pids,
        disk_bytes=settings.disk_mib * MIB,
        open_files=settings.open_files,
        cpuset=settings.cpuset,
    )


def admit_limits(limits: Limits | None, settings: SandboxSettings) -> Limits:
    """Returns the limits of a new sandbox.

    Raises:
        Invalid: one is over the server's.
    """
    most = default_limits(settings)
    limits = limits or most
    for name, (asked_as, unit) in ASKED_AS.items():
        if getattr(limits, name) > getattr(most, name):
            raise Invalid(
                f"{asked_as} may be {getattr(most, name) / unit:g} at most on this server.",
                field=f"limits.{asked_as}",
            )
    return replace(limits, cpuset=_admit_cores(limits.cpuset, most.cpuset))


def admit_change(change: LimitChange, limits: Limits, settings: SandboxSettings) -> Limits:
    """Returns the limits that a sandbox has from now on.

    Raises:
        Invalid: one is over the server's, or cannot be changed while the sandbox lives.
    """
    wanted = change.over(limits)
    for name in changed(limits, wanted) & set(LASTING):
        asked_as = ASKED_AS[name][0]
        raise Invalid(
            f"{asked_as} cannot be changed while a sandbox lives; make another one from a snapshot of it.",
            field=f"limits.{asked_as}",
        )
    # A server with lower limits than the one that made the sandbox lets it keep what it has.
    admitted = admit_limits(change.over(default_limits(settings)), settings)
    return replace(wanted, cpuset=admitted.cpuset) if change.cpuset is not None else wanted


def _admit_cores(asked: str, most: str) -> str:
    try:
        wanted, allowed = plain_cores(asked), plain_cores(most)
    except ValueError as error:
        raise Invalid(f"cpuset: {error}.", field="limits.cpuset") from error
    if not wanted:
        return allowed
    if allowed and not parse_cores(wanted) <= parse_cores(allowed):
        raise Invalid(f"cpuset may be within {allowed} on this server.", field="limits.cpuset")
    return wanted


def admit_lifetime(asked: Lifetime, settings: SandboxSettings) -> Lifetime:
    """Returns how long a sandbox may live; what was left out is the server's.

    Raises:
        Invalid: a time is over the server's.
    """
    lifetime = asked.over(Lifetime(settings.idle_timeout_s, settings.max_age_s))
    most = {"idle_timeout_s": settings.max_idle_timeout_s, "max_age_s": settings.max_age_s}
    for name, seconds in most.items():
        if seconds is not None and getattr(lifetime, name) > seconds:
            raise Invalid(f"{name} may be {seconds:g} at most on this server.", field=name)
    return lifetime


def admit_argv(command: str | tuple[str, ...], settings: SandboxSettings) -> tuple[str, ...]:
    """Returns what is started: a string is run by bash, a list as it is.

    Raises:
        TooLarge: it is too long.
    """
    argv = (BASH, "-c", command) if isinstance(command, str) else command
    size = sum(len(word.encode(errors="surrogatepass")) for word in argv)
    if size > settings.max_command_bytes:
        raise TooLarge(
            f"The command has {size} bytes; at most {settings.max_command_bytes} are allowed. "
            "Send long text by stdin.",
            field="command",
        )
    return argv


def admit_command(new: NewCommand, settings: SandboxSettings) -> CommandRequest:
    """Returns a command with its bounds.

    Raises:
        Invalid: its time is over the server's.
        TooLarge: its text is too long.
    """
    argv = admit_argv(new.command, settings)
    timeout_s = settings.command_timeout_s if new.timeout_s is None else new.timeout_s
    if timeout_s > settings.max_command_timeout_s:
        raise Invalid(
            f"timeout_s may be {settings.max_command_timeout_s:g} at most on this server.", field="timeout_s"
        )
    return CommandRequest(
        argv=argv,
        cwd=new.cwd,
        env=dict(new.env),
        stdin=new.stdin,
        keep_stdin_open=new.keep_stdin_open,
        detach=new.detach,
        lasting=new.lasting,
        checkpoint=new.checkpoint,
        user=new.user,
        timeout_s=timeout_s,
        max_output_bytes=settings.max_output_bytes,
        output_limit_bytes=settings.output_limit_bytes,
    )
