"""The stand-in for STS is as strict as STS where tests rely on it."""

from __future__ import annotations

import time

import pytest

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.sts.service import StsRefusedError
from tests.credentials.sts.sts_scene import BASE, REGION, ROLE, ROLE_ARN, identity_token, service
from tests.credentials.sts.sts_server import Refuse, StsRequest, StsServer, numbered_set


def test_whoever_is_unknown_over_or_mixed_up_is_refused() -> None:
    with StsServer(identities=[BASE], region=REGION) as server:
        sts = service(server)
        assumed = sts.assume_role(Fetch(), BASE, ROLE)
        other = sts.assume_role(Fetch(), assumed, ROLE)
        mixed = Credentials(assumed.access_key_id, other.secret_access_key, assumed.session_token, source="x")
        torn = Credentials(assumed.access_key_id, assumed.secret_access_key, other.session_token, source="x")
        server.forget(other.access_key_id)
        codes = []
        for credentials in (mixed, torn, other):
            with pytest.raises(StsRefusedError) as caught:
                sts.caller_identity(Fetch(), credentials)
            codes.append(caught.value.code)
        server.let_expire()
        with pytest.raises(StsRefusedError) as caught:
            sts.assume_role(Fetch(), assumed, ROLE)
        sts.close()
    assert codes[0] == "SignatureDoesNotMatch"
    assert codes[1:] == ["InvalidClientTokenId"] * 2
    assert caught.value.code == "ExpiredToken"


def test_sets_may_live_for_less_than_a_second() -> None:
    with StsServer(lifetime_seconds=0.25) as server:
        sts = service(server)
        credentials = sts.assume_role(Fetch(), BASE, ROLE)
        sts.close()
    assert credentials.expires_at is not None
    assert credentials.expires_at - time.time() < 0.3


def test_every_set_is_numbered_in_all_its_parts() -> None:
    for number in (1, 12_345_678):
        one = numbered_set(number)
        assert all(
            part is not None and part.endswith(f"{number:08}")
            for part in (one.access_key_id, one.secret_access_key, one.session_token)
        )


def test_it_may_fail_every_other_time() -> None:
    def choose(request: StsRequest) -> Refuse | None:
        return Refuse("InternalFailure", status=500) if request.number % 2 else None

    with StsServer() as server:
        server.choose = choose
        sts = service(server)
        outcomes = []
        for _ in range(6):
            try:
                sts.assume_role_with_web_identity(Fetch(), role_arn=ROLE_ARN, session_name="x", token=identity_token())
                outcomes.append(True)
            except StsRefusedError:
                outcomes.append(False)
        sts.close()
    assert outcomes == [False, True] * 3
    assert server.counts["AssumeRoleWithWebIdentity"] == 6
    assert server.issued == 3
