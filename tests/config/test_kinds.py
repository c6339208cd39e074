"""Every kind of value, with good and bad examples, and what may be shown of a bad one."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest

from aws_signing_proxy.config import kinds
from aws_signing_proxy.config.kinds import Kind
from aws_signing_proxy.config.notation import UnexpectedValueError
from aws_signing_proxy.config.values import CredentialsProvider, LogFormat, LogLevel

GOOD: list[tuple[Kind[Any], str, object]] = [
    (kinds.PORT, "0", 0),
    (kinds.PORT, "8080", 8080),
    (kinds.PORT, "65535", 65535),
    (kinds.count(), "1", 1),
    (kinds.count(), "2147483647", 2147483647),
    (kinds.count(least=0), "0", 0),
    (kinds.size(least_bytes=1024), "1KiB", 1024),
    (kinds.duration(least_seconds=0.001), "1ms", 0.001),
    (kinds.duration(), "0", 0.0),
    (kinds.BOOLEAN, "T", True),
    (kinds.BIND_ADDRESS, "127.0.0.1", "127.0.0.1"),
    (kinds.BIND_ADDRESS, "0.0.0.0", "0.0.0.0"),
    (kinds.BIND_ADDRESS, "::", "::"),
    (kinds.BIND_ADDRESS, "[::1]", "::1"),
    (kinds.BIND_ADDRESS, "localhost", "localhost"),
    (kinds.NAME_IN_SCOPE, "es", "es"),
    (kinds.NAME_IN_SCOPE, "execute-api", "execute-api"),
    (kinds.NAME_IN_SCOPE, "us-gov-west-1", "us-gov-west-1"),
    (kinds.ROLE_ARN, "arn:aws:iam::123456789012:role/some-role", "arn:aws:iam::123456789012:role/some-role"),
    (kinds.ROLE_ARN, "arn:aws-us-gov:iam::1:role/path/role", "arn:aws-us-gov:iam::1:role/path/role"),
    (kinds.VAULT_URL, "https://vault:8200", "https://vault:8200"),
    (kinds.VAULT_URL, "http://vault/prefix/", "http://vault/prefix"),
    (kinds.VAULT_PATH, "/aws/creds/role", "aws/creds/role"),
    (kinds.VAULT_PATH, "aws/creds/role", "aws/creds/role"),
    (kinds.VAULT_PATH, "v1/aws/creds/role", "aws/creds/role"),
    (kinds.VAULT_PATH, "/v1/aws/creds/role/", "aws/creds/role"),
    (kinds.VAULT_PATH, "v10/creds", "v10/creds"),
    (kinds.TOKEN_SERVER_URL, "https://auth/token", "https://auth/token"),
    (kinds.TOKEN_SERVER_URL, "https://auth/token?tenant=a", "https://auth/token?tenant=a"),
    (kinds.MANAGEMENT_PATH, "/metrics", "/metrics"),
    (kinds.text("a text"), "any text: \u00fc", "any text: \u00fc"),
    (kinds.PATH, "/no/such/file", Path("/no/such/file")),
    (kinds.CREDENTIALS_PROVIDER, "vault", CredentialsProvider.VAULT),
    (kinds.CREDENTIALS_PROVIDER, "OIDC", CredentialsProvider.OIDC),
    (kinds.LOG_LEVEL, "Warning", LogLevel.WARNING),
    (kinds.LOG_FORMAT, "console", LogFormat.CONSOLE),
]

BAD: list[tuple[Kind[Any], str]] = [
    *((kinds.PORT, text) for text in ("80a", "-1", "65536", "tcp://10.0.0.1:80", " 80")),
    *((kinds.count(), text) for text in ("0", "-1", "1.5", "2147483648", "many")),
    (kinds.size(least_bytes=1024), "1023"),
    (kinds.duration(least_seconds=0.001), "0"),
    (kinds.duration(least_seconds=0.001), "999us"),
    (kinds.BOOLEAN, "yes"),
    *((kinds.BIND_ADDRESS, text) for text in ("127.0.0.1:80", "[::1]:80", "a b", "*", "256.0.0.1", "http://x")),
    *((kinds.NAME_IN_SCOPE, text) for text in ("e/s", "e s", "-es", "es\n", "\u00e9s", "x" * 129)),
    *((kinds.ROLE_ARN, text) for text in ("role", "arn:aws:iam::1:user/x",
                                           "arn:aws:iam::x:role/y", "arn:aws:iam::1:role/")),
    *((kinds.VAULT_URL, text) for text in ("vault:8200", "ftp://vault", "https://u@vault", "https://vault?a", "https://")),
    *((kinds.VAULT_PATH, text) for text in ("/", "v1", "/v1/", "a//b", "a/../b", "a b", "a?b", "a#b", "\u00fc")),
    *((kinds.TOKEN_SERVER_URL, text) for text in ("auth/token", "https://a/#f", "https://a?b#c",
                                                   "https://a?b c", "https://u:p@a")),
    *((kinds.MANAGEMENT_PATH, text) for text in ("metrics", "/a b", "/a?b", "/{x}", "/\u00fc",
                                                  "/status/health", "/status/ready")),
    *((kinds.text("a text"), text) for text in ("a\n", "a\r\nb", "\x00", "a\x7f", "a\u2028b")),
    (kinds.PATH, "a\nb"),
    *((kinds.CREDENTIALS_PROVIDER, text) for text in ("aws", "vault ", "none")),
    (kinds.LOG_LEVEL, "trace"),
    (kinds.LOG_FORMAT, "xml"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "value"), GOOD)
def test_a_good_text_becomes_its_value(kind: Kind[Any], text: str, value: object) -> None:
    parsed = kind.parse(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(("kind", "text"), BAD)
def test_a_bad_text_is_refused(kind: Kind[Any], text: str) -> None:
    with pytest.raises(UnexpectedValueError):
        kind.parse(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://host/path", '"https://host/path"'),
        ("https://user:password@host/path", '"https://***@host/path"'),
        ("user:password@host", '"***@host"'),
        ("https://user:pass/word@host", '"https://***@host"'),
        ("https://user:pass@word@host", '"https://***@host"'),
        ("https://user:pass?word@host", '"https://***"'),
        ("https://user:pass#word@host", '"https://***"'),
        ("https://user:pass://word@host", '"https://***@host"'),
        ("user:pass://word@host", '"***@host"'),
        ("https://host?token=password://", '"https://host?***"'),
        ("https://host?token=password", '"https://host?***"'),
        ("https://host?token=pass@word", '"https://***"'),
        ("https://host#password", '"https://host?***"'),
    ],
)
def test_a_shown_url_has_no_password_and_no_query(text: str, shown: str) -> None:
    seen = kinds.TARGET_URL.show(text)
    assert seen == shown
    for part in ("pass", "word", "token"):
        assert part not in seen


def test_a_certificate_file_must_be_there_be_a_file_and_be_pem(tmp_path: Path) -> None:
    good = tmp_path / "ca.pem"
    good.write_text("# a comment\n-----BEGIN CERTIFICATE-----\n")
    assert kinds.PEM_FILE.parse(str(good)) == good

    other = tmp_path / "other"
    other.write_bytes(b"\x30\x82")
    for path, reason in [
        (other, "PEM form"),
        (tmp_path, "which is not a file"),
        (tmp_path / "none", "which does not exist"),
        (Path("nul\x00"), "not one"),
    ]:
        with pytest.raises(UnexpectedValueError, match=reason):
            kinds.PEM_FILE.parse(str(path))


def test_a_file_or_directory_that_is_closed_to_us_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Told, not made: root, as whom tests may run, can read and write everything.
    def refuse(*_: object, **__: object) -> NoReturn:
        raise PermissionError

    bundle = tmp_path / "ca.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(UnexpectedValueError, match="cannot be read"):
            kinds.PEM_FILE.parse(str(bundle))
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)
        with pytest.raises(UnexpectedValueError):
            kinds.DIRECTORY.parse(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "is_dir", refuse)
        for kind in (kinds.DIRECTORY, kinds.SOCKET_PATH):
            with pytest.raises(UnexpectedValueError):
                kind.parse(str(tmp_path / "inner"))


def test_a_spool_directory_must_exist_and_be_one(tmp_path: Path) -> None:
    assert kinds.DIRECTORY.parse(str(tmp_path)) == tmp_path
    file = tmp_path / "file"
    file.touch()
    for path in (file, tmp_path / "none", Path("nul\x00")):
        with pytest.raises(UnexpectedValueError):
            kinds.DIRECTORY.parse(str(path))


def test_a_unix_socket_needs_a_directory_a_short_path_and_a_free_place(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert kinds.SOCKET_PATH.parse(str(path)) == path
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    assert kinds.SOCKET_PATH.parse(str(path)) == path  # a socket of an earlier run may be replaced

    (tmp_path / "file").touch()
    for bad, reason in [
        (tmp_path / "file", "nothing yet"),
        (tmp_path / "none" / "s", "directory that exists"),
        (tmp_path / ("x" * 108), "at most 107 bytes"),
        (Path("nul\x00/x"), "path"),
    ]:
        with pytest.raises(UnexpectedValueError, match=reason):
            kinds.SOCKET_PATH.parse(str(bad))
