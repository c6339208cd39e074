"""The `awstoken` provider: the environment first, then the shared files."""

from __future__ import annotations

from pathlib import Path

import pytest

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.provider import CredentialsUnavailableError
from aws_signing_proxy.credentials.static.awstoken import AwsTokenProvider

FILE = "[default]\naws_access_key_id = FILE-ID\naws_secret_access_key = file-secret\n"
PAIR = {"AWS_ACCESS_KEY_ID": "ENVIRONMENT-ID", "AWS_SECRET_ACCESS_KEY": "environment-secret"}


@pytest.fixture(name="environ")
def _environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(FILE)
    return {"HOME": str(tmp_path)}


def test_the_environment_comes_before_the_files(environ: dict[str, str]) -> None:
    assert AwsTokenProvider(environ | PAIR).retrieve(Fetch()).access_key_id == "ENVIRONMENT-ID"


def test_the_files_are_used_where_the_environment_has_nothing(environ: dict[str, str]) -> None:
    assert AwsTokenProvider(environ).retrieve(Fetch()).access_key_id == "FILE-ID"


@pytest.mark.parametrize("name", PAIR)
def test_half_a_pair_in_the_environment_is_an_error_and_the_files_are_not_used(
    environ: dict[str, str], name: str
) -> None:
    with pytest.raises(CredentialsUnavailableError) as caught:
        AwsTokenProvider(environ | {name: PAIR[name]}).retrieve(Fetch())
    assert caught.value.is_conclusive
    assert [attempt.source for attempt in caught.value.attempts] == ["environment"]


def test_a_failure_tells_every_place_in_order(tmp_path: Path) -> None:
    with pytest.raises(CredentialsUnavailableError) as caught:
        AwsTokenProvider({"HOME": str(tmp_path)}).retrieve(Fetch())
    assert [attempt.source for attempt in caught.value.attempts] == [
        "environment",
        str(tmp_path / ".aws" / "credentials"),
        str(tmp_path / ".aws" / "config"),
    ]
    assert not caught.value.is_conclusive


def test_files_are_watched_only_where_they_are_used(environ: dict[str, str]) -> None:
    file = Path(environ["HOME"]) / ".aws" / "credentials"
    from_environment, from_files = AwsTokenProvider(environ | PAIR), AwsTokenProvider(environ)
    for provider in (from_environment, from_files):
        provider.retrieve(Fetch())
        assert not provider.has_changed()
    file.write_text(FILE + "# changed\n")
    assert from_files.has_changed()
    assert not from_environment.has_changed()


def test_a_file_that_appears_after_a_failure_is_noticed(tmp_path: Path) -> None:
    provider = AwsTokenProvider({"HOME": str(tmp_path)})
    with pytest.raises(CredentialsUnavailableError):
        provider.retrieve(Fetch())
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(FILE)
    assert provider.has_changed()
