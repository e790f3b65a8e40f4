"""The key that signs checkpoints: Ed25519, kept where only the server's user can read it."""

import os
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from hashlib import sha256
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from lm_sandbox.errors import Invalid

PURPOSE = b"lm-sandbox audit 1\0"
PRIVATE, PUBLIC = "key.pem", "key.pub"


class PublicKey:
    """Tells whether something was signed by the key that belongs to it."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.fingerprint = sha256(raw).hexdigest()[:16]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a PEM file.

        Raises:
            Invalid: there is none, or it holds no Ed25519 key.
        """
        try:
            key = load_pem_public_key(path.read_bytes())
        except (OSError, ValueError) as error:
            raise Invalid("The public key of the audit cannot be read; name its PEM file.") from error
        if not isinstance(key, Ed25519PublicKey):
            raise Invalid("The public key of the audit is no Ed25519 key.")
        return cls(key)

    def signed(self, message: str, signature: str) -> bool:
        """Whether this is the key's signature of the message."""
        try:
            self._key.verify(b64decode(signature, validate=True), PURPOSE + message.encode())
        except (InvalidSignature, Base64Error, ValueError):
            return False
        return True


class SigningKey:
    """Signs; made once in a folder, and read there afterwards."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key())

    @classmethod
    def ensure(cls, folder: Path) -> Self:
        """Reads the key, or makes it; whoever calls holds the folder's lock.

        Raises:
            Invalid: the file holds no Ed25519 key.
        """
        path = folder / PRIVATE
        if not path.exists():
            _make(path)
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except ValueError as error:
            raise Invalid("The audit's signing key is damaged; put its backup in place.") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise Invalid("The audit's signing key is no Ed25519 key.")
        return cls(key)

    def sign(self, message: str) -> str:
        """Returns the signature, in Base64."""
        return b64encode(self._key.sign(PURPOSE + message.encode())).decode()


def _make(path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    told = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path.with_name(PUBLIC).write_bytes(told)
    # Whole or not at all: a killed server must not leave half a key.
    new = path.with_name(f"{PRIVATE}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
