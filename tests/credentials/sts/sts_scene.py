"""What tests of STS share: a service in front of a stand-in, and credentials to ask it with."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.sts.service import AssumedRole, SecurityTokenService
from tests.credentials.sts.sts_server import StsServer

__all__ = ["BASE", "REGION", "ROLE", "ROLE_ARN", "identity_token", "ready", "service"]

REGION = "eu-central-1"
ROLE_ARN = "arn:aws:iam::123456789012:role/reader"
ROLE = AssumedRole(arn=ROLE_ARN)
BASE = Credentials("AKIABASE", "base-secret-key", "base-session-token", source="the test")


def service(sts: StsServer | str, **environ: str) -> SecurityTokenService:
    """Return an STS that asks the stand-in (or the URL), with nothing else from the environment."""
    url = sts if isinstance(sts, str) else sts.url
    return SecurityTokenService(region=REGION, environ={"AWS_ENDPOINT_URL_STS": url} | environ)


def ready(sts: SecurityTokenService) -> SecurityTokenService:
    """Return it with its client made, where a test measures time: that, and to import botocore, takes some."""
    sts._client_for_use()
    return sts


def identity_token(**claims: Any) -> str:
    """Return a JWT as the kubelet writes one, with other claims where given; its signature is none."""
    every: dict[str, Any] = {
        "iss": "https://oidc.eks.eu-central-1.amazonaws.com/id/EXAMPLE",
        "sub": "system:serviceaccount:shop:proxy",
        "aud": ["sts.amazonaws.com"],
        "exp": time.time() + 86400,
    }
    parts = ({"alg": "RS256"}, every | claims)
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return f"{'.'.join(texts)}.c2lnbmF0dXJl"
