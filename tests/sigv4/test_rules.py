from __future__ import annotations

import pytest

from aws_signing_proxy.sigv4.rules import ServiceRules, rules_for


@pytest.mark.parametrize("service", ["s3", "s3-object-lambda", "s3-outposts", "s3express"])
def test_the_s3_family_encodes_once_and_never_normalises(service: str) -> None:
    assert rules_for(service) == ServiceRules(encode_path_twice=False, normalize_path=False)


@pytest.mark.parametrize("service", ["es", "aoss", "execute-api", "dynamodb", "s3tables", "S3", "a-new-service"])
def test_every_other_service_encodes_twice_and_normalises(service: str) -> None:
    assert rules_for(service) == ServiceRules(encode_path_twice=True, normalize_path=True)
