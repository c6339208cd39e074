"""The `default` provider: which way is taken, when the files are read again, what is told where nothing is found."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import botocore.credentials
import pytest

from aws_signing_proxy.credentials.fetch import Fetch, Step
from aws_signing_proxy.credentials.fetcher import FailedFetchError, Fetcher
from aws_signing_proxy.credentials.ledger import Ledger
from aws_signing_proxy.credentials.provider import CredentialsUnavailableError
from aws_signing_proxy.credentials.sdk import static_shortcut
from tests.credentials.sdk.aws_home import AwsHome

KEYS = "aws_access_key_id = {0}-ID\naws_secret_access_key = {0}-planted-secret\n"
PAIR = {"AWS_ACCESS_KEY_ID": "ENVIRONMENT-ID", "AWS_SECRET_ACCESS_KEY": "environment-planted-secret"}


@pytest.fixture(name="home")
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AwsHome:
    return AwsHome(monkeypatch, tmp_path)


def test_importing_the_provider_and_the_static_way_cost_no_heavy_library(home: AwsHome) -> None:
    home.write("credentials", f"[default]\n{KEYS.format('FILE')}")
    program = (
        "import os, sys\n"
        "from aws_signing_proxy.credentials.sdk.provider import DefaultChainProvider\n"
        "from aws_signing_proxy.credentials.fetch import Fetch\n"
        "provider = DefaultChainProvider(os.environ)\n"
        "assert provider.is_local\n"
        "print(provider.retrieve(Fetch()).access_key_id)\n"
        "heavy = {'botocore', 'boto3', 'urllib3', 'requests', 'hvac', 'authlib', 'cryptography', 'dateutil'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.split(), done.stderr) == (["FILE-ID", "[]"], "")


def test_the_environment_answers_without_the_sdk(home: AwsHome) -> None:
    home.write("config", "[default]\ncredential_process = false\n")
    home.set(**PAIR)
    provider, fetch = home.provider(), Fetch()
    assert provider.is_local
    assert provider.retrieve(fetch).access_key_id == "ENVIRONMENT-ID"
    assert fetch.steps == []


@pytest.mark.parametrize("name", PAIR)
def test_half_a_pair_in_the_environment_is_an_error_and_nothing_else_is_asked(home: AwsHome, name: str) -> None:
    home.write("credentials", f"[default]\n{KEYS.format('FILE')}")
    home.set(**{name: PAIR[name]})
    assert home.provider().is_local
    error = home.failure()
    assert error.is_conclusive
    assert [attempt.source for attempt in error.attempts] == ["environment"]


def test_what_the_sdk_was_asked_is_measured_and_noted(home: AwsHome) -> None:
    home.write("credentials", f"[default]\n{KEYS.format('FILE')}aws_security_token = planted-old-token\n")
    fetch = Fetch()
    provider = home.provider()
    assert not provider.is_local
    credentials = provider.retrieve(fetch)
    assert credentials.session_token == "planted-old-token"
    assert credentials.source == f"profile default in {home.path}/.aws/credentials"
    assert [(step.step, step.is_success) for step in fetch.steps] == [(Step.SDK, True)]
    assert {"FILE-planted-secret", "planted-old-token"} <= set(fetch.secrets)
    assert [note.text for note in fetch.notes] == ["it has credentials without an end"]


def test_a_chain_that_finds_nothing_tells_every_place_in_order(home: AwsHome) -> None:
    error = home.failure()
    places = [
        ("environment", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set"),
        ("role of profile default", "it has no role_arn with source_profile or credential_source"),
        (
            "web identity",
            "AWS_WEB_IDENTITY_TOKEN_FILE is not set, and profile default has no web_identity_token_file",
        ),
        ("SSO of profile default", "it has no sso_account_id and sso_role_name"),
        (f"{home.path}/.aws/credentials", "no such file"),
        ("login of profile default", "it has no login_session"),
        ("credential_process of profile default", "it has no credential_process"),
        (f"{home.path}/.aws/config", "no such file"),
        ("file of the old EC2 tools", "AWS_CREDENTIAL_FILE is not set, or its file has no AWSAccessKeyId"),
        (
            "configuration of boto 2",
            "there is no aws_access_key_id under [Credentials] in BOTO_CONFIG, /etc/boto.cfg or ~/.boto",
        ),
        (
            "container credentials",
            "neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor AWS_CONTAINER_CREDENTIALS_FULL_URI is set",
        ),
        ("instance role from http://169.254.169.254", "AWS_EC2_METADATA_DISABLED switches it off"),
    ]
    if not hasattr(botocore.credentials, "LoginProvider"):  # the oldest that is allowed has none
        places.remove(("login of profile default", "it has no login_session"))
    assert [(attempt.source, attempt.reason) for attempt in error.attempts] == places
    assert not error.is_conclusive
    assert all(attempt.advice and not attempt.advice.endswith(".") for attempt in error.attempts)


def test_files_without_keys_are_told_from_files_that_are_not_there(home: AwsHome) -> None:
    home.set(AWS_PROFILE="dev")
    home.write("credentials", "[other]\nregion = eu-west-1\n")
    home.write("config", "[profile dev]\nregion = eu-west-1\n")
    reasons = {attempt.source: attempt.reason for attempt in home.failure().attempts}
    assert reasons[f"{home.path}/.aws/credentials"] == "it has no profile [dev]"
    assert reasons[f"{home.path}/.aws/config"] == "its profile [profile dev] has no aws_access_key_id"


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("config", "[default]\nplanted-line\n", "cannot be understood at line 2"),
        ("credentials", "planted-line\n", "cannot be understood at line 1"),
        ("config", "[default]\nrole_arn = arn:aws:iam::1:role/x\n", "source_profile or credential_source is missing"),
        ("config", "[default]\nrole_arn = arn\nsource_profile = no\n", 'The source_profile "no" referenced'),
        ("credentials", "[default]\naws_access_key_id = A\n", "it is incomplete: aws_secret_access_key is missing"),
        (
            "credentials",
            "[default]\naws_access_key_id = A\naws_secret_access_key = planted # note\n",
            "followed by a comment",
        ),
        ("credentials", "[default]\naws_access_key_id =\naws_secret_access_key = planted\n", "is blank"),
    ],
)
def test_a_broken_file_ends_the_search_and_its_text_is_not_told(
    home: AwsHome, name: str, text: str, reason: str
) -> None:
    home.write(name, text)
    error = home.failure()
    assert error.is_conclusive
    assert len(error.attempts) == 1
    assert reason in str(error)


def test_the_old_places_are_looked_at_too(home: AwsHome) -> None:
    path = home.write("old", "AWSAccessKeyId=OLD-ID\nAWSSecretKey=planted-secret\n")
    home.set(AWS_CREDENTIAL_FILE=str(path))
    assert home.fetch().source == f"AWS_CREDENTIAL_FILE {path}"
    path.write_text("AWSAccessKeyId=OLD-ID\n")
    assert "what it holds lacks 'AWSSecretKey'" in str(home.failure())
    path.unlink()
    error = home.failure()
    assert error.is_conclusive
    assert f"there is no file {path}" in str(error)
    home.unset("AWS_CREDENTIAL_FILE")
    boto = home.write("boto", "[Credentials]\naws_access_key_id = BOTO-ID\naws_secret_access_key = planted-secret\n")
    home.set(BOTO_CONFIG=str(boto))
    assert home.fetch().source == "configuration of boto 2"


def test_a_login_session_is_told_where_it_cannot_be_used(home: AwsHome) -> None:
    home.write("config", "[default]\nlogin_session = arn:aws:iam::123456789012:user/me\n")
    error = home.failure()
    if hasattr(botocore.credentials, "LoginProvider"):  # the oldest that is allowed has none
        assert error.is_conclusive
        assert "login session" in error.attempts[0].reason


def test_a_profile_that_no_file_has_ends_the_search(home: AwsHome) -> None:
    home.set(AWS_PROFILE="dev")
    error = home.failure()
    assert error.is_conclusive
    assert str(error).startswith(f"profile dev in {home.path}/.aws/config: there is no such profile in either file")


def test_a_blank_profile_is_no_profile(home: AwsHome) -> None:
    home.set(AWS_PROFILE="", AWS_DEFAULT_PROFILE="")
    assert len(home.failure().attempts) > 10


@pytest.mark.parametrize("kind", ["keys", "process"])
def test_files_that_change_are_read_again_whoever_reads_them(home: AwsHome, kind: str) -> None:
    home.script("helper", 'echo \'{"Version": 1, "AccessKeyId": "\'$1\'", "SecretAccessKey": "planted-secret"}\'\n')

    def text(name: str) -> str:
        process = f"credential_process = {home.path}/helper {name}-ID\n"
        return "[default]\n" + (KEYS.format(name) if kind == "keys" else process)

    provider = home.provider()
    assert not provider.has_changed()
    home.write("config", text("FIRST"))
    assert home.fetch(provider).access_key_id == "FIRST-ID"
    assert provider.is_local == (kind == "keys")
    assert not provider.has_changed()
    home.write("config", text("SECOND"))
    assert provider.is_local == (kind == "keys")
    assert provider.has_changed()
    assert home.fetch(provider).access_key_id == "SECOND-ID"
    assert not provider.has_changed()


def test_files_are_read_once_however_often_it_is_asked_whether_they_have_the_keys(
    home: AwsHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for every request that has nothing to sign with, in the event loop."""
    home.write("config", "[default]\ncredential_process = false\n")
    parse, parsed = static_shortcut._parsed, list[str]()

    def count(path: str) -> object:
        parsed.append(path)
        return parse(path)

    monkeypatch.setattr(static_shortcut, "_parsed", count)
    provider = home.provider()
    assert [provider.is_local for _ in range(50)] == [False] * 50
    assert len(parsed) == 2
    home.write("config", f"[default]\n{KEYS.format('FILE')}")
    assert [provider.is_local for _ in range(50)] == [True] * 50
    assert len(parsed) == 4
    home.write("credentials", "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\n")
    assert not provider.is_local


def test_a_file_that_loses_its_keys_after_the_look_lets_nobody_be_asked_in_the_event_loop(home: AwsHome) -> None:
    path = home.write("config", f"[default]\n{KEYS.format('FILE')}")
    home.script("helper", f"touch {home.path}/asked; exit 1")
    provider = home.provider()

    async def run() -> FailedFetchError:
        is_local = provider.is_local
        path.write_text(f"[default]\ncredential_process = {home.path}/helper\n")
        with pytest.raises(FailedFetchError) as caught:
            await Fetcher(provider, ledger=Ledger()).fetch(is_forced=False, is_local=is_local)
        return caught.value

    error = asyncio.run(run())
    assert error.reason == "the AWS files: changed while they were looked at (They are read again in a moment)"
    assert (error.outcome, error.has_asked) == ("failed", False)
    assert not (home.path / "asked").exists()
    assert not provider.is_local
    assert "helper" in str(home.failure(provider))
    assert (home.path / "asked").exists()


def test_a_chain_that_asked_nobody_says_so(home: AwsHome) -> None:
    fetch = Fetch()
    with pytest.raises(CredentialsUnavailableError):
        home.provider().retrieve(fetch)
    assert not fetch.has_asked
    home.script("helper", "exit 1")
    home.write("config", f"[default]\ncredential_process = {home.path}/helper\n")
    with pytest.raises(CredentialsUnavailableError):
        home.provider().retrieve(fetch)
    assert fetch.has_asked


def test_a_file_that_appears_after_a_failure_is_noticed_and_read(home: AwsHome) -> None:
    provider = home.provider()
    home.failure(provider)
    home.write("credentials", f"[default]\n{KEYS.format('FILE')}")
    assert provider.has_changed()
    assert home.fetch(provider).access_key_id == "FILE-ID"


def test_files_are_not_watched_where_the_environment_has_the_keys(home: AwsHome) -> None:
    home.set(**PAIR)
    provider = home.provider()
    home.fetch(provider)
    home.write("credentials", f"[default]\n{KEYS.format('FILE')}")
    assert not provider.has_changed()


def test_a_file_that_cannot_be_read_ends_the_search(home: AwsHome, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home.write("credentials", f"[default]\n{KEYS.format('FILE')}")
    opened = Path.open

    def refuse(self: Path, *arguments: str, **named: str) -> object:
        if self == path:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(self, *arguments, **named)  # type: ignore[call-overload] # passed on as it came

    home.write("config", "[default]\ncredential_process = false\n")
    monkeypatch.setattr(Path, "open", refuse)
    error = home.failure()
    assert error.is_conclusive
    assert str(error).startswith(f"{path}: cannot be read (Permission denied)")
