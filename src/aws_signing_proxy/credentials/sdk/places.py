"""The places where the AWS SDK's chain looks, in words for people, and why each may have nothing.

Keyed by the METHOD of botocore's providers. What botocore itself says of an empty place is nothing at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from aws_signing_proxy.credentials.http.web_address import shown_address
from aws_signing_proxy.credentials.provider import Attempt
from aws_signing_proxy.credentials.sdk.credential_process import program_of
from aws_signing_proxy.credentials.sdk.static_shortcut import path_as_sdk, profile_as_sdk

__all__ = ["CONTAINER_FULL", "CONTAINER_RELATIVE", "Places"]

CONTAINER_RELATIVE: Final = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
CONTAINER_FULL: Final = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
_WEB_TOKEN_FILE: Final = "AWS_WEB_IDENTITY_TOKEN_FILE"  # noqa: S105 - a variable's name

_Profile: TypeAlias = Mapping[str, Any]


class _Empty(NamedTuple):
    """Why a place gave nothing, and what would make it give something."""

    reason: str
    advice: str


class Places:
    """Describes the chain's places for one environment and one reading of the two files.

    `config` is the session's `full_config`; `credentials_file` and `config_file` are the profile's sections in each
    file, None where it has none.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        config: Mapping[str, Any],
        credentials_file: _Profile | None,
        config_file: _Profile | None,
        metadata_url: str,
    ) -> None:
        self.profile = profile_as_sdk(environ) or "default"
        self._environ = environ
        self._profiles: Mapping[str, _Profile] = config.get("profiles", {})
        self._profile = self._profiles.get(self.profile, {})
        self._sections = {"shared-credentials-file": credentials_file, "config-file": config_file}
        self._paths = {
            # Set to nothing, it is no path.
            "shared-credentials-file": path_as_sdk(environ, "AWS_SHARED_CREDENTIALS_FILE") or "no credentials file",
            "config-file": path_as_sdk(environ, "AWS_CONFIG_FILE") or "no config file",
        }
        self._metadata_url = shown_address(metadata_url)

    def source(self, method: str) -> str:
        """Return what a place is called that has credentials, or should have them."""
        words: dict[str, Callable[[], str]] = {
            "env": lambda: "environment",
            "assume-role": lambda: f"{self._in_file('role_arn')} ({self._origin_of_role()})",
            "assume-role-with-web-identity": self._web_identity,
            "sso": self._sso,
            "login": lambda: f"{self._in_file('login_session')} (login session)",
            "custom-process": self._process,
            "ec2-credentials-file": lambda: f"AWS_CREDENTIAL_FILE {self._environ.get('AWS_CREDENTIAL_FILE', '')}",
            "boto-config": lambda: "configuration of boto 2",
            "container-role": lambda: f"container credentials from {shown_address(self.container_url)}",
            "iam-role": lambda: f"instance role from {self._metadata_url}",
        }
        if method in words:
            return words[method]()
        if method in self._paths:
            return f"profile {self.profile} in {self._paths[method]}"
        return f"the AWS SDK's source {method}"

    def nothing(self, method: str) -> Attempt:
        """Return what is to be said of a place that has nothing, and is not configured to have anything."""
        if method in self._paths:
            reason, advice = self._no_keys(method)
            return Attempt(self._paths[method], reason, advice)
        name, reason, advice = self._not_configured(method)
        return Attempt(name, reason, advice)

    @property
    def container_url(self) -> str:
        """Where the container's credentials are asked for; empty where no variable says it."""
        relative = self._environ.get(CONTAINER_RELATIVE)
        return f"http://169.254.170.2{relative}" if relative is not None else self._environ.get(CONTAINER_FULL, "")

    @property
    def sso_login(self) -> str:
        """The command that logs in to SSO, for the profile itself or the one that its role is assumed from."""
        name, seen = self.profile, set[str]()
        while name not in seen:
            seen.add(name)
            profile = self._profiles.get(name, {})
            if not any(key.startswith("sso_") for key in profile) and isinstance(profile.get("source_profile"), str):
                name = profile["source_profile"]
        return f"aws sso login --profile {name}"

    def _text(self, key: str) -> str:
        value = self._profile.get(key, "?")
        return value if isinstance(value, str) else "?"

    def _in_file(self, key: str) -> str:
        """Return the profile with the file whose `key` counts: the credentials file's values win."""
        section = self._sections["shared-credentials-file"]
        method = "shared-credentials-file" if section is not None and key in section else "config-file"
        return f"profile {self.profile} in {self._paths[method]}"

    def _sso(self) -> str:
        account = f"SSO account {self._text('sso_account_id')}, role {self._text('sso_role_name')}"
        return f"{self._in_file('sso_role_name')} ({account})"

    def _process(self) -> str:
        program = program_of(self._text("credential_process"))
        return f"{self._in_file('credential_process')} (credential_process {program})"

    def _origin_of_role(self) -> str:
        keys = ("source_profile", "credential_source")
        origins = [f"{key} {self._text(key)}" for key in keys if key in self._profile]
        return ", ".join([f"role {self._text('role_arn')}", *origins])

    def _web_identity(self) -> str:
        if self._environ.get(_WEB_TOKEN_FILE):
            role = self._environ.get("AWS_ROLE_ARN", self._text("role_arn"))
            return f"role {role} with the web identity token in {self._environ[_WEB_TOKEN_FILE]}"
        where = self._in_file("web_identity_token_file")
        return f"{where} (role {self._text('role_arn')} with a web identity token)"

    def _no_keys(self, method: str) -> _Empty:
        path, section = self._paths[method], self._sections[method]
        variable = "AWS_SHARED_CREDENTIALS_FILE" if method == "shared-credentials-file" else "AWS_CONFIG_FILE"
        header = f"[profile {self.profile}]" if method == "config-file" else f"[{self.profile}]"
        header = "[default]" if self.profile == "default" else header
        if not os.path.isfile(path):  # noqa: PTH113 - the question that botocore asks
            return _Empty("no such file", f"Create it, or set {variable} to its path")
        if section is None:
            return _Empty(
                f"it has no profile {header}", f"Add {header} to it, or set AWS_PROFILE to a profile that it has"
            )
        return _Empty(f"its profile {header} has no aws_access_key_id", "Add aws_access_key_id and its secret to it")

    def _not_configured(self, method: str) -> tuple[str, str, str]:
        profile, config = f"profile {self.profile}", self._paths["config-file"]
        variables = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        own: dict[str, tuple[str, str, str]] = {
            "env": ("environment", f"{variables} are not set", f"Set {variables}"),
            "assume-role": (
                f"role of {profile}",
                "it has no role_arn with source_profile or credential_source",
                f"Add role_arn, and source_profile or credential_source, to {profile} in {config}",
            ),
            "assume-role-with-web-identity": (
                "web identity",
                f"{_WEB_TOKEN_FILE} is not set, and {profile} has no web_identity_token_file",
                f"Set {_WEB_TOKEN_FILE} and AWS_ROLE_ARN (EKS does, for a service account with a role)",
            ),
            "sso": (
                f"SSO of {profile}",
                "it has no sso_account_id and sso_role_name",
                f"Run `aws configure sso --profile {self.profile}`",
            ),
            "login": (f"login of {profile}", "it has no login_session", f"Run `aws login --profile {self.profile}`"),
            "custom-process": (
                f"credential_process of {profile}",
                "it has no credential_process",
                f"Add credential_process to {profile} in {config}",
            ),
            "ec2-credentials-file": (
                "file of the old EC2 tools",
                "AWS_CREDENTIAL_FILE is not set, or its file has no AWSAccessKeyId",
                "Use one of the other places",
            ),
            "boto-config": (
                "configuration of boto 2",
                "there is no aws_access_key_id under [Credentials] in BOTO_CONFIG, /etc/boto.cfg or ~/.boto",
                "Use one of the other places",
            ),
            "container-role": (
                "container credentials",
                f"neither {CONTAINER_RELATIVE} nor {CONTAINER_FULL} is set",
                "Give the ECS task a role (taskRoleArn), or associate one with the service account of the EKS pod",
            ),
        }
        unknown = (self.source(method), "it has nothing", "See the documentation of the installed botocore")
        return own.get(method, unknown)
