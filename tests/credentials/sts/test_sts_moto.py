"""STS by botocore, against moto's server: an implementation that is not ours reads what is sent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.sts.irsa import IrsaOptions, IrsaProvider
from aws_signing_proxy.credentials.sts.service import AssumedRole, SecurityTokenService, StsRefusedError
from tests.clients.processes import MotoProcess
from tests.credentials.sts.sts_scene import identity_token

ROLE_ARN = "arn:aws:iam::123456789012:role/reader"


@pytest.fixture(name="moto", scope="module")
def _moto() -> Iterator[MotoProcess]:
    with MotoProcess() as moto:
        yield moto


@pytest.fixture(name="sts")
def _sts(moto: MotoProcess) -> Iterator[SecurityTokenService]:
    sts = SecurityTokenService(region=moto.REGION, environ={"AWS_ENDPOINT_URL_STS": moto.url})
    yield sts
    sts.close()


def user(moto: MotoProcess) -> Credentials:
    return Credentials(moto.access_key_id, moto.secret_access_key, source="moto's user")


def test_a_signed_call_is_accepted_by_a_server_that_verifies(moto: MotoProcess, sts: SecurityTokenService) -> None:
    identity = sts.caller_identity(Fetch(), user(moto))
    assert identity.account == "123456789012"
    assert identity.arn == "arn:aws:iam::123456789012:user/application"


def test_a_role_is_assumed_and_its_credentials_are_good(moto: MotoProcess, sts: SecurityTokenService) -> None:
    role = AssumedRole(arn=ROLE_ARN, session_name="by test", duration_seconds=900, tags={"team": "shop"})
    credentials = sts.assume_role(Fetch(), user(moto), role)
    assert credentials.expires_at == pytest.approx(time.time() + 900, abs=30)
    assert sts.caller_identity(Fetch(), credentials).arn == "arn:aws:sts::123456789012:assumed-role/reader/by-test"


def test_a_wrong_secret_is_refused_in_the_words_of_aws(moto: MotoProcess, sts: SecurityTokenService) -> None:
    with pytest.raises(StsRefusedError) as caught:
        sts.caller_identity(Fetch(), Credentials(moto.access_key_id, "wrong-secret-key", source="the test"))
    assert caught.value.code == "SignatureDoesNotMatch"
    assert caught.value.is_conclusive


def test_an_unknown_key_is_refused_in_the_words_of_aws(sts: SecurityTokenService) -> None:
    with pytest.raises(StsRefusedError) as caught:
        sts.caller_identity(Fetch(), Credentials("AKIANOBODY", "secret-key", source="the test"))
    assert caught.value.code == "InvalidClientTokenId"


def test_a_service_accounts_token_is_exchanged(moto: MotoProcess, sts: SecurityTokenService, tmp_path: Path) -> None:
    # moto's check of permissions fails (500) on a request that is not signed, as this one must be.
    assert requests.post(f"{moto.url}/moto-api/reset-auth", data=b"1000", timeout=10).ok
    file = tmp_path / "token"
    file.write_text(identity_token())
    options = IrsaOptions(role_arn=ROLE_ARN, token_file=file, session_name="shop")
    credentials = IrsaProvider(options, sts=sts).retrieve(Fetch())
    assert credentials.session_token
    assert credentials.expires_at == pytest.approx(time.time() + 3600, abs=30)
    assert sts.caller_identity(Fetch(), credentials).arn == "arn:aws:sts::123456789012:assumed-role/reader/shop"
