"""What a client may ask of a container, and how one is told."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from lm_sandbox.errors import Invalid
from lm_sandbox.sandboxes.egress import MOST_RULES, EgressMode, EgressPolicy
from lm_sandbox.sandboxes.limits import MIB, Limits
from lm_sandbox.sandboxes.sandbox import Lifetime, NewSandbox, Sandbox, SandboxState
from lm_sandbox.sandboxes.secrets import MOST_SECRETS, DomainSecret
from lm_sandbox.surfaces.openai.containers.skills import Skill

GIB = 1024 * MIB
MEMORY = {"1g": GIB, "4g": 4 * GIB, "16g": 16 * GIB, "64g": 64 * GIB}
# Names of sandboxes are unique, those of containers are not.
NAME_KEY = "container_name"
MEMORY_KEY = "container_memory_limit"
MOST_FILES = 64
MOST_SKILLS = 32


class _Open(BaseModel):
    """Clients send fields that we do not know; they are no error."""

    model_config = ConfigDict(extra="allow")


class NetworkDisabled(_Open):
    """Nothing is reached."""

    type: Literal["disabled"]

    def to_policy(self) -> EgressPolicy:
        """Returns what the service takes."""
        return EgressPolicy()

    def to_secrets(self) -> tuple[DomainSecret, ...]:
        """Returns none."""
        return ()


class DomainSecretIn(_Open):
    """A secret for requests to one domain."""

    domain: str = Field(max_length=512)
    name: str
    value: SecretStr


class NetworkAllowlist(_Open):
    """Some domains are reached, on the ports of the web."""

    type: Literal["allowlist"]
    allowed_domains: list[Annotated[str, Field(max_length=512)]] = Field(max_length=MOST_RULES)
    domain_secrets: list[DomainSecretIn] = Field(
        default_factory=list, max_length=MOST_SECRETS, exclude=True, repr=False
    )

    def to_secrets(self) -> tuple[DomainSecret, ...]:
        """Returns what the service takes.

        Raises:
            Invalid: a secret cannot be used.
        """
        return tuple(
            DomainSecret.parse(secret.domain, secret.name, secret.value.get_secret_value())
            for secret in self.domain_secrets
        )

    def to_policy(self) -> EgressPolicy:
        """Returns what the service takes.

        Raises:
            Invalid: a domain is none.
        """
        return EgressPolicy.parse(EgressMode.ALLOWLIST, self.allowed_domains)


NetworkPolicy = Annotated[NetworkDisabled | NetworkAllowlist, Field(discriminator="type")]


class ContainerSpec(_Open):
    """What a container has, wherever it is asked for."""

    file_ids: list[str] = Field(default_factory=list, max_length=MOST_FILES)
    memory_limit: Literal["1g", "4g", "16g", "64g"] | None = None
    network_policy: NetworkPolicy | None = None
    skills: list[Skill] = Field(default_factory=list, max_length=MOST_SKILLS)

    def to_new(self, default: Limits, metadata: dict[str, str], lifetime: Lifetime) -> NewSandbox:
        """Returns what the service takes.

        Raises:
            Invalid: the server gives less memory, a domain is none, or a secret cannot be used.
        """
        network = self.network_policy or NetworkDisabled(type="disabled")
        return NewSandbox(
            metadata=metadata | ({MEMORY_KEY: self.memory_limit} if self.memory_limit else {}),
            limits=self._limits(default),
            lifetime=lifetime,
            egress=network.to_policy(),
            secrets=network.to_secrets(),
        )

    def _limits(self, default: Limits) -> Limits | None:
        if self.memory_limit is None:
            return None
        wanted = MEMORY[self.memory_limit]
        if wanted > default.memory_bytes:
            raise Invalid(
                f"memory_limit {self.memory_limit} is over this server's {default.memory_bytes // MIB} MiB; "
                "leave it out, or raise sandbox.memory_mib.",
                field="memory_limit",
            )
        return replace(default, memory_bytes=wanted)


class ExpiresAfter(_Open):
    """How long a container is kept unused."""

    anchor: Literal["last_active_at"] = "last_active_at"
    minutes: int = Field(ge=1)


class ContainerCreate(ContainerSpec):
    """A container to make."""

    name: str = Field(min_length=1, max_length=512, pattern=r"^[^\x00-\x1f]+$")
    expires_after: ExpiresAfter | None = None

    def lifetime(self) -> Lifetime:
        """Returns how long it is kept."""
        return Lifetime(idle_timeout_s=self.expires_after.minutes * 60.0 if self.expires_after else None)


def container_name(sandbox: Sandbox) -> str:
    """Returns the name that a client gave, else that of the sandbox."""
    return sandbox.metadata.get(NAME_KEY, sandbox.name)


def container_body(sandbox: Sandbox) -> dict[str, object]:
    """Writes a container."""
    idle_s = sandbox.lifetime.idle_timeout_s
    expires = {"anchor": "last_active_at", "minutes": max(1, round(idle_s / 60))} if idle_s else None
    return {
        "id": sandbox.id,
        "object": "container",
        "created_at": int(sandbox.created_at.timestamp()),
        "name": container_name(sandbox),
        "status": "active" if sandbox.state is SandboxState.RUNNING else sandbox.state.value,
        "last_active_at": int(sandbox.last_active_at.timestamp()),
        "memory_limit": sandbox.metadata.get(MEMORY_KEY),
        "expires_after": expires,
        "network_policy": _network(sandbox.egress),
    }


def _network(policy: EgressPolicy) -> dict[str, object]:
    if policy.mode is EgressMode.DISABLED:
        return {"type": "disabled"}
    rules = [str(rule) for rule in policy.rules]
    return {"type": "allowlist", "allowed_domains": ["*"] if policy.mode is EgressMode.OPEN else rules}
