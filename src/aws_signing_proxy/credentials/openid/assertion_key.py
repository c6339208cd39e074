"""A client's private key: read from PEM, and used to sign the assertion that stands for a secret (RFC 7523)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection
from typing import Any, Final

__all__ = ["AssertionKey", "KeyUnusableError"]

_SMALLEST_RSA_BITS: Final = 2048  # RFC 7518 section 3.3
# RFC 7518 section 3.4: the curve decides.
_ALGORITHM_OF_CURVE: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_ADVICE: Final = (
    "Let ASP_OPEN_ID_CLIENT_KEY_FILE name the client's private key in PEM (RSA or EC), without a passphrase"
)


class KeyUnusableError(Exception):
    """The key cannot sign. Says nothing of what the file holds."""

    def __init__(self, reason: str, advice: str = _ADVICE) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice


class AssertionKey:
    """The key of a PEM text, and the algorithm to sign with.

    RS256 for RSA, which every server takes, unless the server names its `algorithms` and PS256 but not RS256 is one
    of them; for an EC key the curve's. A certificate beside the key is named in the assertion's header (`x5t` and
    `x5t#S256`, RFC 7515 section 4.1.7): Microsoft Entra finds the registered key by it.

    Raises:
        KeyUnusableError: There is no such key in the text.
    """

    __slots__ = ("_key", "_thumbprints", "algorithm")

    def __init__(self, pem: str, algorithms: Collection[str] | None) -> None:
        from joserfc.jwk import ECKey, RSAKey

        key = _private_key(pem)
        self.algorithm = _algorithm(key, algorithms)
        self._key: Any = (ECKey if self.algorithm.startswith("ES") else RSAKey).import_key(_pem_of(key))
        self._thumbprints = _thumbprints(pem)

    def __repr__(self) -> str:
        return f"<AssertionKey for {self.algorithm}>"

    def sign(self, *, client_id: str, audience: str, key_id: str | None, issued_at: int, seconds: int) -> str:
        """Return an assertion that is good for `seconds` from `issued_at` (seconds since the epoch)."""
        from authlib.oauth2.rfc7523 import private_key_jwt_sign

        header = {"typ": "JWT", **({"kid": key_id} if key_id else {}), **self._thumbprints}
        assertion = private_key_jwt_sign(
            self._key,
            client_id,
            audience,
            alg=self.algorithm,
            claims={},
            header=header,
            issued_at=issued_at,
            expires_in=seconds,
        )
        return str(assertion)


def _pem_of(key: Any) -> bytes:
    """Return the key alone in PKCS #8, whatever stood beside it in its file."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def _private_key(pem: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if "-----BEGIN " not in pem:
        raise KeyUnusableError("holds no PEM")
    start = pem.find("PRIVATE KEY-----")
    if start < 0:
        raise KeyUnusableError("holds no private key")
    try:
        return load_pem_private_key(pem[pem.rfind("-----BEGIN ", 0, start) :].encode(), None)
    except TypeError:
        raise KeyUnusableError("is protected by a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyUnusableError("holds no private key that can be read") from None


def _algorithm(key: Any, algorithms: Collection[str] | None) -> str:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    if isinstance(key, RSAPrivateKey):
        if key.key_size < _SMALLEST_RSA_BITS:
            raise KeyUnusableError(
                f"is an RSA key of {key.key_size} bits, and {_SMALLEST_RSA_BITS} are the least",
                "Make a new key pair, and register its public half for this client",
            )
        return "PS256" if algorithms and "RS256" not in algorithms and "PS256" in algorithms else "RS256"
    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name in _ALGORITHM_OF_CURVE:
        return _ALGORITHM_OF_CURVE[key.curve.name]
    raise KeyUnusableError("is neither an RSA key nor one of the curves P-256, P-384 and P-521")


def _thumbprints(pem: str) -> dict[str, str]:
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509 import load_pem_x509_certificate

    start = pem.find("-----BEGIN CERTIFICATE-----")
    if start < 0:
        return {}
    try:
        certificate = load_pem_x509_certificate(pem[start:].encode()).public_bytes(Encoding.DER)
    except ValueError:
        raise KeyUnusableError("holds a certificate that cannot be read") from None
    sha1 = hashlib.sha1(certificate, usedforsecurity=False).digest()
    return {"x5t": _base64url(sha1), "x5t#S256": _base64url(hashlib.sha256(certificate).digest())}


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
