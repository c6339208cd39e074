"""Signature Version 4, as a pure room: bytes and pairs in, field lines out; no clock, no environment, no I/O.

`rules` says what differs from service to service. `canonical` turns a request target into the one form that is sent
and the canonical form that is signed. `signing` has the stages of a signature, and the `Signer` that runs them.
`verification`, with `received`, is the service's side: it refuses a request as AWS would; it is imported by name, as
the proxy itself has no need of it. `identity` is the key pair.
Why the forms are what they are: docs/decisions/0003-canonical-target.md and 0004-botocore-differences.md.
"""

from __future__ import annotations

from aws_signing_proxy.sigv4.canonical import CanonicalTarget, TargetError, canonical_target
from aws_signing_proxy.sigv4.identity import Identity
from aws_signing_proxy.sigv4.rules import ServiceRules, rules_for
from aws_signing_proxy.sigv4.signing import (
    REPLACED_FIELDS,
    SIGNED_FIELDS,
    SIGNED_PREFIX,
    IdentityError,
    Signer,
    SigningPlan,
)

__all__ = [
    "REPLACED_FIELDS",
    "SIGNED_FIELDS",
    "SIGNED_PREFIX",
    "CanonicalTarget",
    "Identity",
    "IdentityError",
    "ServiceRules",
    "Signer",
    "SigningPlan",
    "TargetError",
    "canonical_target",
    "rules_for",
]
