"""Wherever the `default` provider answers without botocore, botocore's own chain has the same answer.

A table of environments and of both files, all combined: whatever our own providers answer is compared with a plain
botocore session. Also the other way round: the common cases do take the short way.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import botocore.session
import pytest
from botocore.exceptions import BotoCoreError

from aws_signing_proxy.credentials.fetch import Fetch
from tests.credentials.sdk.aws_home import AwsHome

A = "aws_access_key_id=A-ID\naws_secret_access_key=A-secret\n"
B = "aws_access_key_id=B-ID\naws_secret_access_key=B-secret\naws_session_token=B-token\n"

ENVIRONMENTS: tuple[Mapping[str, str], ...] = (
    {},
    {"AWS_PROFILE": "dev"},
    {"AWS_DEFAULT_PROFILE": "dev"},
    {"AWS_PROFILE": "other", "AWS_DEFAULT_PROFILE": "dev"},
    {"AWS_PROFILE": "my team"},
    {"AWS_ACCESS_KEY_ID": "E-ID", "AWS_SECRET_ACCESS_KEY": "E-secret"},
    {"AWS_ACCESS_KEY_ID": "E-ID", "AWS_SECRET_ACCESS_KEY": "E-secret", "AWS_SESSION_TOKEN": "E-token"},
    {"AWS_ACCESS_KEY_ID": "E-ID", "AWS_SECRET_ACCESS_KEY": "E-secret", "AWS_SECURITY_TOKEN": "E-old"},
    {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
    {"AWS_WEB_IDENTITY_TOKEN_FILE": "/nonexistent", "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/x"},
    {"AWS_WEB_IDENTITY_TOKEN_FILE": ""},
    {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/"},
    {"AWS_CONFIG_FILE": ""},
    {"AWS_CONFIG_FILE": "$PLACE/.aws/config"},
    {"AWS_CONFIG_FILE": "~/.aws/config"},
    {"AWS_SHARED_CREDENTIALS_FILE": "~/.aws/config"},
)
CREDENTIALS_FILES: tuple[str | None, ...] = (
    None,
    f"[default]\n{A}",
    f"[default]\n{A}[dev]\n{B}",
    f"[dev]\nregion=eu-west-1\n{B}",
    f"[dev]\n{A}aws_security_token=old\n",
    f"[dev]\n{A}[dev]\n{B}",
    f"[DEFAULT]\n{B}[dev]\nregion=eu-west-1\n",
    f"[ dev ]\n{A}",
    f"[default]\n{A.replace('secret', 'secret # note', 1)}",
    f"[default]\n{A.replace('A-secret', 'A-secret # note')}",
    "[dev]\naws_access_key_id=A-ID\n",
    "[dev]\naws_secret_access_key=A-secret\n",
    "[dev]\naws_access_key_id=\naws_secret_access_key=A-secret\n",
    f"[my team]\n{A}",
    f"[dev]\n{A}role_arn=arn:aws:iam::123456789012:role/x\nsource_profile=dev\n",
    f"[dev]\n{A}credential_process=false\n",
    f"\ufeff[dev]\n{A}",
    "[dev]\nno line of a file like this\n",
)
CONFIG_FILES: tuple[str | None, ...] = (
    None,
    f"[default]\nregion=eu-west-1\ns3 =\n  addressing_style = path\n[profile dev]\n{B}",
    f"[profile default]\n{A}[profile dev]\nregion=eu-west-1\n",
    f"[default]\n{A}[profile default]\n{B}",
    f"[profile default]\n{B}[default]\n{A}",
    f'[profile "my team"]\n{B}[profile "dev"]\n{B}',
    f"[profile my team]\n{B}",
    f"[profiles dev]\n{B}",
    f"[dev]\n{B}",
    "[profile dev]\nsso_account_id=1\nsso_role_name=r\nsso_start_url=https://x\nsso_region=eu-west-1\n",
    "[profile dev]\ncredential_process=false\n",
    "[profile dev]\nweb_identity_token_file=/nonexistent\nrole_arn=arn:aws:iam::123456789012:role/x\n",
    "[default]\ns3 =\n  addressing_style\n",
    f"[profile dev]\n  {B}",
)


def answer_of_botocore() -> tuple[str, str, str | None] | str:
    """Return what botocore finds, or the name of the error that it raises."""
    try:
        found = botocore.session.Session().get_credentials()
        if found is None:
            return "nothing"
        frozen = found.get_frozen_credentials()
    except (BotoCoreError, OSError) as error:
        return type(error).__name__
    return frozen.access_key, frozen.secret_key, frozen.token


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda environment: " ".join(environment) or "nothing")
def test_what_is_answered_without_botocore_is_what_botocore_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    compared = 0
    for number, (credentials, config) in enumerate(itertools.product(CREDENTIALS_FILES, CONFIG_FILES)):
        with monkeypatch.context() as patch:
            (tmp_path / str(number)).mkdir()
            home = AwsHome(patch, tmp_path / str(number))
            home.set(PLACE=str(home.path), **environment)
            for name, text in (("credentials", credentials), ("config", config)):
                if text is not None:
                    home.write(name, text)
            provider = home.provider()
            if not provider.is_local:
                continue
            found = provider.retrieve(Fetch())
            ours = (found.access_key_id, found.secret_access_key, found.session_token)
            theirs = answer_of_botocore()
            is_environment = "AWS_SECRET_ACCESS_KEY" in environment
            # With keys in the environment botocore still fails for a file or a profile that is broken; we do not look.
            if not (is_environment and theirs in {"ConfigParseError", "ProfileNotFound"}):
                assert ours == theirs, (environment, credentials, config)
            compared += 1
    is_never_short = (
        "AWS_SECURITY_TOKEN" in environment
        or environment.get("AWS_WEB_IDENTITY_TOKEN_FILE")
        or environment.get("AWS_CONFIG_FILE") == ""
    )
    assert (compared == 0) == bool(is_never_short)


@pytest.mark.parametrize(
    ("environment", "credentials", "config"),
    [
        ({}, f"[default]\n{A}", None),
        ({}, None, f"[default]\n{A}"),
        ({"AWS_PROFILE": "dev"}, f"[default]\n{A}[dev]\n{B}", "[profile dev]\nregion = eu-west-1\n"),
        ({"AWS_PROFILE": "dev"}, f"[default]\n{A}", f"[profile dev]\n{B}"),
        ({"AWS_PROFILE": "dev", "AWS_REGION": "eu-west-1"}, f"# mine\n[dev]\n{A}", "[sso-session dev]\nsso_region=x\n"),
    ],
)
def test_plain_profiles_take_the_short_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str], credentials: str | None, config: str
) -> None:
    home = AwsHome(monkeypatch, tmp_path)
    home.set(**environment)
    for name, text in (("credentials", credentials), ("config", config)):
        if text is not None:
            home.write(name, text)
    assert home.provider().is_local
