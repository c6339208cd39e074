"""The `irsa` provider: the token file, and what STS makes of it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError
from aws_signing_proxy.credentials.sts.irsa import IrsaOptions, IrsaProvider
from aws_signing_proxy.credentials.sts.service import StsRefusedError
from tests.credentials.sts.sts_scene import ROLE_ARN, identity_token, service
from tests.credentials.sts.sts_server import Refuse, StsServer, numbered_set


@pytest.fixture(name="server")
def _server() -> Iterator[StsServer]:
    with StsServer() as server:
        yield server


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(identity_token())
    return path


@pytest.fixture(name="provider")
def _provider(server: StsServer, file: Path) -> Iterator[IrsaProvider]:
    options = IrsaOptions(role_arn=ROLE_ARN, token_file=file, session_name="the shop", duration_seconds=1800)
    provider = IrsaProvider(options, sts=service(server))
    yield provider
    provider.close(Fetch())


def broken(provider: IrsaProvider) -> Attempt:
    with pytest.raises(CredentialsUnavailableError) as caught:
        provider.retrieve(Fetch())
    assert caught.value.is_conclusive
    (attempt,) = caught.value.attempts
    return attempt


def test_the_token_in_the_file_is_exchanged_for_the_roles_credentials(
    provider: IrsaProvider, server: StsServer, file: Path
) -> None:
    known: list[str] = []
    fetch = Fetch(keep_secret=known.append)
    credentials = provider.retrieve(fetch)
    assert credentials.access_key_id == numbered_set(1).access_key_id
    sent = server.requests[0].parameters
    assert (sent["RoleArn"], sent["RoleSessionName"], sent["DurationSeconds"]) == (ROLE_ARN, "the-shop", "1800")
    assert sent["WebIdentityToken"] == file.read_text()
    assert known[0] == file.read_text()
    assert (provider.name, provider.is_local, provider.has_changed()) == ("irsa", False, False)


def test_what_the_token_says_is_noted_and_the_token_is_not(provider: IrsaProvider, file: Path) -> None:
    file.write_text(identity_token(exp=1900000000))
    fetch = Fetch()
    provider.retrieve(fetch)
    assert fetch.notes[0] == (
        str(file),
        (
            'read a token with iss "https://oidc.eks.eu-central-1.amazonaws.com/id/EXAMPLE", '
            'sub "system:serviceaccount:shop:proxy", aud "sts.amazonaws.com", good until 2030-03-17T17:46:40Z'
        ),
    )
    assert file.read_text() not in str(fetch.notes)


def test_the_file_is_read_anew_each_time_because_the_token_is_renewed_there(
    provider: IrsaProvider, server: StsServer, file: Path
) -> None:
    provider.retrieve(Fetch())
    renewed = file.with_name("renewed")
    renewed.write_text(identity_token(jti="2") + "\n")
    renewed.replace(file)
    assert provider.retrieve(Fetch()).access_key_id == numbered_set(2).access_key_id
    assert server.requests[1].parameters["WebIdentityToken"] == file.read_text().strip()


def test_a_token_that_says_that_it_is_over_is_told_and_sts_is_asked_all_the_same(
    provider: IrsaProvider, server: StsServer, file: Path
) -> None:
    """The clock that is wrong may be ours."""
    file.write_text(identity_token(exp=time.time() - 7200))
    fetch = Fetch()
    assert provider.retrieve(fetch).access_key_id
    assert fetch.notes[1].text.endswith("2 h ago; STS is asked all the same")
    server.fail(Refuse("ExpiredTokenException", "Token expired", 400))
    with pytest.raises(StsRefusedError) as caught:
        provider.retrieve(Fetch())
    assert caught.value.code == "ExpiredTokenException"
    assert [attempt.source for attempt in caught.value.attempts] == [f"STS at {server.url}", str(file)]
    # The sentence ends with the advice about the file.
    assert "Find out why nobody renews it" in str(caught.value)


def test_a_refusal_of_a_good_token_is_that_of_sts(provider: IrsaProvider, server: StsServer) -> None:
    server.fail(Refuse("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"))
    with pytest.raises(StsRefusedError) as caught:
        provider.retrieve(Fetch())
    assert [attempt.source for attempt in caught.value.attempts] == [f"STS at {server.url}"]


def test_a_token_that_is_no_jwt_is_exchanged_too(provider: IrsaProvider, file: Path) -> None:
    file.write_text("opaque-token")
    fetch = Fetch()
    assert provider.retrieve(fetch).access_key_id
    assert "no JWT" in fetch.notes[0].text
    assert "opaque-token" not in str(fetch.notes)


def test_a_missing_file_is_told_with_what_eks_wants(provider: IrsaProvider, server: StsServer, file: Path) -> None:
    file.unlink()
    attempt = broken(provider)
    assert attempt[:2] == (str(file), "no such file")
    assert "annotate the service account" in attempt.advice
    assert not server.requests


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"two tokens", "holds something that is no token"),
        (b"one\ntwo", "holds something that is no token"),
        (b"\xff\xfe", "holds something that is no token"),
        ("tökén".encode(), "holds something that is no token"),
        (b"a" * 20_001, "holds more than the 20000 bytes that STS takes as a token"),
        (b"a" * 5_000_000, "holds more than the 20000 bytes that STS takes as a token"),
    ],
)
def test_a_file_without_a_token_is_told_without_its_content(
    provider: IrsaProvider, server: StsServer, file: Path, content: bytes, reason: str
) -> None:
    file.write_bytes(content)
    attempt = broken(provider)
    assert attempt.source == str(file)
    assert attempt.reason.startswith(reason)
    assert not server.requests


def test_the_longest_token_that_sts_takes_is_taken_with_its_line_break(provider: IrsaProvider, file: Path) -> None:
    file.write_bytes(b"a" * 20_000 + b"\r\n")
    assert provider.retrieve(Fetch()).access_key_id


def test_a_folder_or_a_pipe_is_no_token_file_and_nobody_waits_for_it(provider: IrsaProvider, file: Path) -> None:
    file.unlink()
    os.mkfifo(file)
    assert broken(provider).reason == "is no regular file"
    file.unlink()
    file.mkdir()
    assert broken(provider).reason == "is no regular file"


def test_a_file_that_may_not_be_read_is_told_with_who_should(
    provider: IrsaProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:  # root, whom some run tests as, may read everything
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    attempt = broken(provider)
    assert attempt.reason == "cannot be read (Permission denied)"
    assert f"id {os.geteuid()}" in attempt.advice


def test_a_path_that_no_system_takes_is_told(server: StsServer) -> None:
    options = IrsaOptions(role_arn=ROLE_ARN, token_file=Path("x" * 300), session_name="x")
    assert broken(IrsaProvider(options, sts=service(server))).reason == "cannot be read (File name too long)"
    options = IrsaOptions(role_arn=ROLE_ARN, token_file=Path("a\0b"), session_name="x")
    assert broken(IrsaProvider(options, sts=service(server))).reason == "cannot be read (ValueError)"


def test_after_a_failure_the_file_is_watched_and_after_a_success_it_is_not(
    provider: IrsaProvider, server: StsServer, file: Path, tmp_path: Path
) -> None:
    token = file.read_text()
    assert not provider.has_changed()
    file.unlink()
    broken(provider)
    assert not provider.has_changed()
    file.write_text("")
    assert provider.has_changed()
    broken(provider)
    assert not provider.has_changed()
    # As the kubelet does it: another file takes its place.
    new = tmp_path / "new"
    new.write_text(token)
    new.replace(file)
    assert provider.has_changed()
    provider.retrieve(Fetch())
    assert not provider.has_changed()
    file.write_text(identity_token())
    assert not provider.has_changed()
    server.choose = lambda _: Refuse("ExpiredTokenException", "it is over", 400)
    with pytest.raises(StsRefusedError):
        provider.retrieve(Fetch())
    assert not provider.has_changed()
    file.write_text(identity_token(sub="another"))
    assert provider.has_changed()


def test_a_file_that_may_be_read_now_counts_as_changed(provider: IrsaProvider, file: Path) -> None:
    text = file.read_text()
    file.write_text("")
    broken(provider)
    before = file.stat()
    file.chmod(0o644 if before.st_mode & 0o777 != 0o644 else 0o600)
    assert provider.has_changed()
    file.write_text(text)


def test_what_the_file_lacks_is_no_fault_of_sts(provider: IrsaProvider, server: StsServer, file: Path) -> None:
    text = file.read_text()
    file.write_text("")
    fetch = Fetch()
    with pytest.raises(CredentialsUnavailableError):
        provider.retrieve(fetch)
    assert not fetch.has_asked
    file.write_text(text)
    server.choose = lambda _: Refuse("ExpiredTokenException", "it is over", 400)
    with pytest.raises(StsRefusedError):
        provider.retrieve(fetch)
    assert fetch.has_asked
