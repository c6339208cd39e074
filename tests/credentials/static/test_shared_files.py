"""Static credentials from the shared credentials file and the shared config file."""

from __future__ import annotations

import contextlib
import os
import traceback
from pathlib import Path

import pytest

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.provider import CredentialsUnavailableError
from aws_signing_proxy.credentials.static.shared_files import SharedFilesProvider

KEYS = "aws_access_key_id = {0}-ID\naws_secret_access_key = {0}-planted-secret\n"


class Home:
    """A home directory with the two files, and the environment that points there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environ = {"HOME": str(path)}
        (path / ".aws").mkdir()

    def write(self, name: str, text: str) -> Path:
        path = self.path / ".aws" / name
        path.write_text(text)
        return path

    def provider(self, **environ: str) -> SharedFilesProvider:
        return SharedFilesProvider(self.environ | environ)

    def fetch(self, **environ: str) -> Credentials:
        return self.provider(**environ).retrieve(Fetch())

    def failure(self, **environ: str) -> CredentialsUnavailableError:
        with pytest.raises(CredentialsUnavailableError) as caught:
            self.fetch(**environ)
        told = "".join(traceback.format_exception(caught.value)) + caught.value.explain() + repr(caught.value)
        assert "planted" not in told
        return caught.value


@pytest.fixture(name="home")
def _home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_the_default_profile_is_read_from_the_credentials_file(home: Home) -> None:
    path = home.write("credentials", f"[default]\n{KEYS.format('A')}aws_session_token = A-token\n")
    credentials = home.fetch()
    assert (credentials.access_key_id, credentials.secret_access_key) == ("A-ID", "A-planted-secret")
    assert credentials.session_token == "A-token"
    assert credentials.expires_at is None
    assert credentials.source == f"profile default in {path}"


@pytest.mark.parametrize("header", ["[default]", "[profile default]"])
def test_the_config_file_is_read_where_the_credentials_file_has_nothing(home: Home, header: str) -> None:
    home.write("config", f"{header}\n{KEYS.format('A')}")
    assert home.fetch().access_key_id == "A-ID"


def test_the_credentials_file_comes_before_the_config_file(home: Home) -> None:
    home.write("config", f"[default]\n{KEYS.format('CONFIG')}")
    home.write("credentials", f"[default]\n{KEYS.format('CREDENTIALS')}")
    assert home.fetch().access_key_id == "CREDENTIALS-ID"


@pytest.mark.parametrize(
    ("environ", "key_id"),
    [
        ({"AWS_PROFILE": "dev"}, "DEV-ID"),
        ({"AWS_DEFAULT_PROFILE": "dev"}, "DEV-ID"),
        ({"AWS_PROFILE": "dev", "AWS_DEFAULT_PROFILE": "default"}, "DEV-ID"),
        ({"AWS_PROFILE": "", "AWS_DEFAULT_PROFILE": ""}, "A-ID"),
    ],
)
def test_the_environment_chooses_the_profile(home: Home, environ: dict[str, str], key_id: str) -> None:
    home.write("credentials", f"[default]\n{KEYS.format('A')}[dev]\n{KEYS.format('DEV')}")
    assert home.fetch(**environ).access_key_id == key_id


@pytest.mark.parametrize(
    "header", ["[profile dev]", "[profile   dev ]", '[profile "dev"]', "[profile\tdev]", "[ profile dev]"]
)
def test_the_config_file_writes_profile_before_a_name(home: Home, header: str) -> None:
    home.write("config", f"{header}\n{KEYS.format('DEV')}")
    assert home.fetch(AWS_PROFILE="dev").access_key_id == "DEV-ID"


def test_a_profile_name_may_hold_spaces(home: Home) -> None:
    home.write("config", f"[profile my team]\n{KEYS.format('DEV')}")
    assert home.fetch(AWS_PROFILE="my team").access_key_id == "DEV-ID"


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("config", "[dev]"),
        ("config", "[profiles dev]"),
        ("config", "[sso-session dev]"),
        ("config", "[profile DEV]"),
        ("credentials", "[profile dev]"),
    ],
)
def test_a_section_that_is_not_the_profile_is_not_taken_for_it(home: Home, name: str, header: str) -> None:
    home.write(name, f"{header}\n{KEYS.format('OTHER')}")
    error = home.failure(AWS_PROFILE="dev")
    assert not error.is_conclusive
    assert "has no profile" in str(error)


def test_a_section_called_default_in_capitals_gives_its_keys_to_no_other(home: Home) -> None:
    home.write("credentials", f"[DEFAULT]\n{KEYS.format('OTHER')}\n[dev]\nregion = eu-west-1\n")
    assert "has no aws_access_key_id" in str(home.failure(AWS_PROFILE="dev"))


def test_a_percent_sign_in_a_secret_is_only_a_percent_sign(home: Home) -> None:
    home.write("credentials", "[default]\naws_access_key_id=A\naws_secret_access_key=a%b%(c)s%%\n")
    assert home.fetch().secret_access_key == "a%b%(c)s%%"


def test_comments_spaces_and_a_byte_order_mark_are_what_other_tools_make_of_them(home: Home) -> None:
    text = (
        "\ufeff# a comment\r\n[default] ; note\r\n"
        "AWS_ACCESS_KEY_ID=A-ID # note\r\naws_secret_access_key =  x#y;z=  \r\n"
        "s3 =\r\n  max_concurrent_requests = 20\r\n"
    )
    home.write("credentials", text)
    credentials = home.fetch()
    assert (credentials.access_key_id, credentials.secret_access_key) == ("A-ID", "x#y;z=")


def test_a_profile_written_twice_is_one_profile(home: Home) -> None:
    home.write("credentials", f"[default]\nregion = eu-west-1\n[default]\n{KEYS.format('A')}")
    assert home.fetch().access_key_id == "A-ID"


def test_the_environment_names_the_files(home: Home, tmp_path: Path) -> None:
    home.write("credentials", f"[default]\n{KEYS.format('HOME')}")
    other = tmp_path / "other"
    other.write_text(f"[default]\n{KEYS.format('OTHER')}")
    assert home.fetch(AWS_SHARED_CREDENTIALS_FILE=str(other)).access_key_id == "OTHER-ID"
    assert home.fetch(AWS_SHARED_CREDENTIALS_FILE="~/other").access_key_id == "OTHER-ID"
    missing = str(tmp_path / "missing")
    assert home.fetch(AWS_SHARED_CREDENTIALS_FILE=missing, AWS_CONFIG_FILE=str(other)).access_key_id == "OTHER-ID"


def test_a_home_directory_that_nobody_knows_is_a_reason_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", unknown)
    provider = SharedFilesProvider({})
    with pytest.raises(CredentialsUnavailableError, match="there is no home directory"):
        provider.retrieve(Fetch())
    assert not provider.has_changed()


def test_missing_files_are_reported_with_their_paths(home: Home) -> None:
    error = home.failure()
    assert not error.is_conclusive
    assert [attempt.source for attempt in error.attempts] == [
        str(home.path / ".aws" / "credentials"),
        str(home.path / ".aws" / "config"),
    ]
    assert {attempt.reason for attempt in error.attempts} == {"no such file"}


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("aws_access_key_id = planted\n", "aws_secret_access_key"),
        ("aws_access_key_id = planted\naws_secret_access_key =\n", "aws_secret_access_key"),
        ("aws_secret_access_key = planted\n", "aws_access_key_id"),
    ],
)
def test_half_a_pair_is_an_error_and_the_other_file_is_not_used(home: Home, text: str, missing: str) -> None:
    home.write("credentials", f"[default]\n{text}")
    home.write("config", f"[default]\n{KEYS.format('OTHER')}")
    error = home.failure()
    assert error.is_conclusive
    assert f"no {missing}" in str(error)


@pytest.mark.parametrize(
    "key",
    ["role_arn", "source_profile", "credential_source", "web_identity_token_file", "sso_session", "sso_start_url",
     "sso_account_id", "credential_process", "login_session"],
)  # fmt: skip
def test_a_profile_whose_credentials_are_fetched_is_refused_by_its_key(home: Home, key: str) -> None:
    home.write("config", f"[profile dev]\n{key} = planted\n")
    error = home.failure(AWS_PROFILE="dev")
    assert error.is_conclusive
    assert f"uses {key}, and awstoken uses static keys only" in str(error)


@pytest.mark.parametrize("role_in", ["credentials", "config"])
def test_keys_beside_a_role_are_not_used_because_the_profile_means_the_role(home: Home, role_in: str) -> None:
    texts = {"credentials": f"[default]\n{KEYS.format('A')}", "config": "[default]\nregion = eu-west-1\n"}
    texts[role_in] += "role_arn = arn:planted\n"
    for name, text in texts.items():
        home.write(name, text)
    assert "uses role_arn" in str(home.failure())


def test_keys_beside_single_sign_on_are_used(home: Home) -> None:
    home.write("config", f"[default]\n{KEYS.format('A')}sso_session = x\n")
    assert home.fetch().access_key_id == "A-ID"


def test_a_profile_without_keys_is_a_reason_to_look_further(home: Home) -> None:
    home.write("credentials", "[default]\nregion = eu-west-1\n")
    assert "has no aws_access_key_id and aws_secret_access_key" in str(home.failure())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"aws_secret_access_key = planted\n", "at line 1"),
        (b"[default]\naws_access_key_id = A\nplanted without an equals sign\n", "at line 3"),
        (b"[default\naws_secret_access_key = planted\n", "at line 1"),
        (b"[default]\n\n= planted\n", "at line 3"),
        (b"[default]\nplanted = \xff\n", "is not UTF-8 text (line 2)"),
        (b"# planted\n" * 200_000, "is larger than"),
    ],
)
def test_a_file_that_cannot_be_understood_is_an_error_with_its_line(home: Home, content: bytes, reason: str) -> None:
    path = home.write("credentials", "")
    path.write_bytes(content)
    home.write("config", f"[default]\n{KEYS.format('OTHER')}")
    error = home.failure()
    assert error.is_conclusive
    assert error.attempts[0].source == str(path)
    assert reason in str(error)


def test_a_value_of_two_lines_is_refused(home: Home) -> None:
    home.write("credentials", "[default]\naws_access_key_id = A\naws_secret_access_key = one\n  planted\n")
    error = home.failure()
    assert error.is_conclusive
    assert "aws_secret_access_key holds a line break" in str(error)


def test_a_directory_or_a_pipe_in_place_of_a_file_is_an_error_at_once(home: Home, tmp_path: Path) -> None:
    assert "cannot be read (Is a directory)" in str(home.failure(AWS_SHARED_CREDENTIALS_FILE=str(tmp_path)))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "is not a regular file" in str(home.failure(AWS_SHARED_CREDENTIALS_FILE=str(pipe)))


def test_a_file_that_may_not_be_read_is_an_error(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.write("credentials", f"[default]\n{KEYS.format('A')}")
    home.write("config", f"[default]\n{KEYS.format('OTHER')}")

    def refuse(_path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    error = home.failure()
    assert error.is_conclusive
    assert "cannot be read (Permission denied)" in str(error)


def test_a_path_with_a_null_byte_is_a_reason_not_a_crash(home: Home) -> None:
    assert home.failure(AWS_SHARED_CREDENTIALS_FILE="/a\0b").is_conclusive
    assert not home.provider(AWS_SHARED_CREDENTIALS_FILE="/a\0b").has_changed()


def test_before_the_first_fetch_nothing_has_changed(home: Home) -> None:
    assert not home.provider().has_changed()


def test_an_unchanged_file_has_not_changed(home: Home) -> None:
    home.write("credentials", f"[default]\n{KEYS.format('A')}")
    provider = home.provider()
    provider.retrieve(Fetch())
    assert not provider.has_changed()


def test_a_written_replaced_deleted_or_created_file_has_changed(home: Home) -> None:
    path = home.write("credentials", f"[default]\n{KEYS.format('A')}")
    provider = home.provider()

    def is_noticed() -> bool:
        has_changed = provider.has_changed()
        with contextlib.suppress(CredentialsUnavailableError):
            provider.retrieve(Fetch())
        assert not provider.has_changed()
        return has_changed

    is_noticed()
    path.write_text(f"[default]\n{KEYS.format('LONGER')}")
    assert is_noticed()
    replacement = path.with_suffix(".new")
    replacement.write_text(path.read_text())
    os.utime(replacement, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    replacement.replace(path)  # the same size and time: only the inode tells
    assert is_noticed()
    path.unlink()
    assert is_noticed()
    home.write("config", f"[default]\n{KEYS.format('A')}")
    assert is_noticed()


def test_a_file_that_changes_while_it_is_read_is_read_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home.write("credentials", f"[default]\n{KEYS.format('A')}")
    read_bytes = Path.read_bytes

    def written_meanwhile(self: Path) -> bytes:
        content = read_bytes(self)
        path.write_text(f"[default]\n{KEYS.format('LONGER')}")
        return content

    provider = home.provider()
    monkeypatch.setattr(Path, "read_bytes", written_meanwhile)
    assert provider.retrieve(Fetch()).access_key_id == "A-ID"
    assert provider.has_changed()
