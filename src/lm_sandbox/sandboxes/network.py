"""The networks of all sandboxes: who has a way out, what it leads to, and what was refused."""

import logging
import ssl
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Self

import anyio
import httpx
from anyio.abc import TaskGroup

from lm_sandbox.errors import FileNotThere, SandboxNotFound
from lm_sandbox.identity.lent_keys import LentKeys
from lm_sandbox.identity.principals import Principal, Scope
from lm_sandbox.sandboxes.driver import SandboxDriver, SandboxId
from lm_sandbox.sandboxes.egress import NOTHING, EgressPolicy
from lm_sandbox.sandboxes.egress_proxy import DOORS, PROXY_ENV, EgressProxy
from lm_sandbox.sandboxes.events import EventKind, Events
from lm_sandbox.sandboxes.file_path import file_path
from lm_sandbox.sandboxes.proxying.budget import Budget
from lm_sandbox.sandboxes.proxying.dialer import Resolve, SystemResolver
from lm_sandbox.sandboxes.proxying.gate import MODELS_HOST
from lm_sandbox.sandboxes.proxying.vault import Vault
from lm_sandbox.sandboxes.secrets import DomainSecret

LOG = logging.getLogger(__name__)

MODELS_URL = f"http://{MODELS_HOST}/v1"
SYSTEM_TRUST = "/etc/ssl/certs/ca-certificates.crt"
OWN_TRUST = "/home/sandbox/.lm-sandbox/certificates.pem"
LARGEST_TRUST = 4 * 1024 * 1024
# Each program has its own way to be told whom to trust.
TRUST_ENV = dict.fromkeys(
    (
        "SSL_CERT_FILE",
        "CURL_CA_BUNDLE",
        "REQUESTS_CA_BUNDLE",
        "PIP_CERT",
        "GIT_SSL_CAINFO",
        "NODE_EXTRA_CA_CERTS",
    ),
    OWN_TRUST,
)
MODELS_ONLY = frozenset({Scope.MODELS})


@dataclass(slots=True)
class Network:
    """What one sandbox has.

    Attributes:
        policy: What it may reach.
        events: What was refused.
        proxy: Its way out; None while it never had one.
        scope: Ends the proxy.
        ended: Set when the proxy has closed its sockets.
        key: For this server's models; None while they are closed to it.
        vault: Its secrets.
    """

    policy: EgressPolicy = NOTHING
    events: Events = field(default_factory=Events)
    proxy: EgressProxy | None = None
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ended: anyio.Event = field(default_factory=anyio.Event)
    key: str | None = None
    vault: Vault = field(default_factory=Vault)


class Networks:
    """Opens and closes ways out; entered and left with the service.

    Args:
        driver: Makes the sockets inside.
        keys: Lends keys for the models.
        models: This server's model API, as a transport; None where there is none.
        resolve: Looks names up; without one the host's resolver does, apart for each sandbox.
        trust: Which servers get secrets; None takes those that the host believes.
    """

    def __init__(
        self,
        driver: SandboxDriver,
        *,
        keys: LentKeys | None = None,
        models: httpx.AsyncBaseTransport | None = None,
        resolve: Resolve | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._driver = driver
        self._keys = keys or LentKeys()
        self._models = models
        self._resolve = resolve
        self._trust = trust
        self._budget = Budget.of_this_process()
        self._networks: dict[SandboxId, Network] = {}
        self._tasks: TaskGroup | None = None
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            self._tasks = await exits.enter_async_context(anyio.create_task_group())
            exits.callback(self._tasks.cancel_scope.cancel)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._exits.aclose()

    async def set_policy(
        self, caller: Principal, sandbox: SandboxId, owner: str, policy: EgressPolicy
    ) -> None:
        """Lets a sandbox reach what the policy allows, from now on, and nothing else.

        Args:
            caller: Who wants it so.
            sandbox: Which one.
            owner: The id of whom its requests to models are made for.
            policy: What it may reach.

        Raises:
            Forbidden: the caller may not use models itself.
            Conflict: a command has taken the proxy's port.
            SandboxFailed: the sandbox died.
        """
        if policy == self.find(sandbox).policy:
            return
        key = self._keys.lend(caller, owner, f"sandbox {sandbox}", MODELS_ONLY) if policy.models else None
        network = self._networks.setdefault(sandbox, Network())
        try:
            if network.proxy is None:
                await self._open(sandbox, network, policy)
            else:
                network.proxy.change(policy)
        except BaseException:
            self._take_back(key)
            if network.proxy is None:
                self._networks.pop(sandbox, None)
            raise
        self._take_back(network.key)
        network.policy, network.key = policy, key
        network.events.add(EventKind.EGRESS_CHANGED, str(policy.mode), f"The network is now: {policy}.")

    async def give_secrets(self, sandbox: SandboxId, secrets: tuple[DomainSecret, ...]) -> None:
        """Gives a sandbox secrets to use; to be called once, before its policy is set.

        What it has to trust for it is written into it.

        Raises:
            SandboxFailed, LimitReached, FileRefused: that file cannot be written.
        """
        if not secrets:
            return
        vault = Vault(secrets, self._trust)
        files = self._driver.files(sandbox)
        try:
            async with files.read(file_path(SYSTEM_TRUST)) as reader:
                known = await reader.read(0, LARGEST_TRUST)
        except FileNotThere:
            known = b""
        async with files.write(file_path(OWN_TRUST), 0o644) as writer:
            await writer.write([known, vault.certificate])
            await writer.commit()
        self._networks[sandbox] = Network(vault=vault)

    async def close(self, sandbox: SandboxId) -> None:
        """Ends everything that a sandbox has; idempotent."""
        network = self._networks.pop(sandbox, None)
        if network is None:
            return
        self._take_back(network.key)
        if network.proxy is not None:
            network.scope.cancel()
            await network.ended.wait()

    def find(self, sandbox: SandboxId) -> Network:
        """Tells what a sandbox has."""
        return self._networks.get(sandbox, Network())

    def env(self, sandbox: SandboxId) -> Mapping[str, str]:
        """The variables that tell programs of the way out."""
        network = self.find(sandbox)
        env = dict(PROXY_ENV) if network.policy.needs_proxy else {}
        if network.key is not None:
            env |= {"OPENAI_BASE_URL": MODELS_URL, "OPENAI_API_KEY": network.key}
        for secret in network.vault.secrets:
            env[secret.name] = secret.placeholder
        return env | (TRUST_ENV if network.vault.secrets else {})

    async def _open(self, sandbox: SandboxId, network: Network, policy: EgressPolicy) -> None:
        if self._tasks is None:
            raise RuntimeError("the networks are used outside their context")
        sockets = await self._driver.listen(sandbox, DOORS)
        if self._networks.get(sandbox) is not network:
            for sock in sockets:
                sock.close()
            raise SandboxNotFound(f"There is no sandbox {sandbox!r} any more.")
        resolve = self._resolve or SystemResolver()
        proxy = EgressProxy(policy, network.events, resolve, self._models, self._budget, network.vault)
        network.proxy = proxy

        async def serve() -> None:
            try:
                with network.scope:
                    await proxy.serve(sockets)
            except Exception:
                # The sandbox is without a way out from now on; the others keep theirs.
                LOG.exception("the egress proxy of %s failed", sandbox)
            finally:
                network.ended.set()

        self._tasks.start_soon(serve)

    def _take_back(self, key: str | None) -> None:
        if key is not None:
            self._keys.take_back(key)
