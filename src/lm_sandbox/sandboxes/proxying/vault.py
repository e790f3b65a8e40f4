"""The secrets of one sandbox, and the TLS by which they are put in."""

import ssl

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from lm_sandbox.errors import Unreachable
from lm_sandbox.sandboxes.hosts import Authority, Host
from lm_sandbox.sandboxes.proxying import certificates
from lm_sandbox.sandboxes.proxying.relay import GONE
from lm_sandbox.sandboxes.secrets import DomainSecret

HANDSHAKE_S = 15.0


class Vault:
    """Holds secrets and stands in for the servers that they are for.

    Args:
        secrets: Those of the sandbox.
        trust: Which servers are believed; None takes those that the host believes.
    """

    def __init__(self, secrets: tuple[DomainSecret, ...] = (), trust: ssl.SSLContext | None = None) -> None:
        self.secrets = secrets
        self._authority = certificates.Authority() if secrets else None
        self._trust = trust

    @property
    def certificate(self) -> bytes:
        """What the sandbox has to trust; nothing where it has no secrets."""
        return self._authority.pem if self._authority is not None else b""

    def for_host(self, host: Host) -> tuple[DomainSecret, ...]:
        """Returns the secrets that requests to a host get."""
        return tuple(secret for secret in self.secrets if secret.domain.names(host))

    async def meet_client(self, stream: ByteStream, host: Host) -> TLSStream:
        """Stands in for a host towards a program inside.

        Raises:
            anyio.EndOfStream: the program does not trust it, or has gone.
        """
        if self._authority is None:
            raise RuntimeError("there are no secrets")
        context = self._authority.context(host.text)
        try:
            with anyio.fail_after(HANDSHAKE_S):
                return await TLSStream.wrap(
                    stream, server_side=True, ssl_context=context, standard_compatible=False
                )
        except (ssl.SSLError, TimeoutError, *GONE) as error:
            raise anyio.EndOfStream from error

    async def meet_server(self, stream: ByteStream, target: Authority) -> TLSStream:
        """Begins TLS with the server itself, and holds it to its name.

        Raises:
            Unreachable: its certificate is not believed, or it speaks no TLS.
        """
        if self._trust is None:
            self._trust = ssl.create_default_context()
            self._trust.set_alpn_protocols(["http/1.1"])
        try:
            with anyio.fail_after(HANDSHAKE_S):
                return await TLSStream.wrap(
                    stream, hostname=target.host.text, ssl_context=self._trust, standard_compatible=False
                )
        except ssl.SSLError as error:
            raise Unreachable(f"{target} does not prove by TLS who it is: {error.reason}.") from error
        except (TimeoutError, *GONE) as error:
            raise Unreachable(f"{target} does not answer by TLS.") from error
