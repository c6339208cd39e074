"""More sources: those of the machine itself, which hand out numbered sets as the others do."""

from __future__ import annotations

import contextlib
import re

from aws_signing_proxy.sigv4 import Identity
from tests.credentials.sdk.metadata_servers import InstanceService
from tests.outages.sources import Source

__all__ = ["AwsToken", "Instance", "Process"]

_NO_KEYS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


class _Local(Source):
    """What is not asked over a network fails in ways of its own: a test writes its files."""

    def start(self, stack: contextlib.ExitStack) -> None:
        """There is no server."""

    @property
    def addresses(self) -> dict[str, str]:
        return {}

    def fail(self, kind: str) -> None:
        raise NotImplementedError

    def slow(self, seconds: float) -> None:
        raise NotImplementedError

    def every_second_fails(self) -> None:
        raise NotImplementedError

    def mend(self) -> None:
        raise NotImplementedError


class AwsToken(_Local):
    """The shared credentials file; `write` writes the n-th set into it."""

    name = "awstoken"

    def __init__(self, folder: object, *, lease_seconds: float = 3600.0) -> None:
        super().__init__(folder, lease_seconds=lease_seconds)  # type: ignore[arg-type] # handed on as it came
        self.file = self.folder / "credentials"
        self.written = 0

    @property
    def secrets_of_sets(self) -> list[str]:
        return [f"planted-file-{number}" for number in range(1, self.written + 1)]

    @property
    def environ(self) -> dict[str, str]:
        return _NO_KEYS | {
            "ASP_CREDENTIALS_PROVIDER": "awstoken",
            "AWS_SHARED_CREDENTIALS_FILE": str(self.file),
            "AWS_CONFIG_FILE": str(self.folder / "config"),
        }

    @property
    def fetches(self) -> int:
        return self.written

    @property
    def sets(self) -> int:
        return self.written

    def write(self) -> None:
        """Write the next set, as people do: into a new file that takes the old one's place."""
        self.written = number = self.written + 1
        new = self.file.with_suffix(".new")
        key = f"AKIAFILE{number:08}"
        new.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = planted-file-{number}\n")
        new.replace(self.file)

    def identity(self, access_key_id: str) -> Identity | None:
        number = re.fullmatch(r"AKIAFILE(\d{8})", access_key_id)
        return Identity(access_key_id, f"planted-file-{int(number[1])}", None) if number else None


class Process(_Local):
    """The SDK's own chain, which finds a credential_process; it writes down how often it ran."""

    name = "default"

    @property
    def environ(self) -> dict[str, str]:
        script = self.folder / "process"
        script.write_text(
            "#!/bin/sh\n"
            'n=$(cat "$0.count" 2>/dev/null || echo 0); n=$((n + 1)); echo $n > "$0.count"\n'
            'printf \'{"Version": 1, "AccessKeyId": "ASIAPROCESS%d", "SecretAccessKey": "planted-process-%d", '
            f'"SessionToken": "planted-process-token-%d", "Expiration": "{self._expiration}"}}\' $n $n $n\n'
        )
        script.chmod(0o700)
        config = self.folder / "config"
        config.write_text(f"[default]\ncredential_process = {script}\n")
        return _NO_KEYS | {
            "ASP_CREDENTIALS_PROVIDER": "default",
            "AWS_CONFIG_FILE": str(config),
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    _expiration = "2099-01-01T00:00:00Z"

    @property
    def fetches(self) -> int:
        return self.sets

    @property
    def sets(self) -> int:
        try:
            # Empty for the moment in which the process writes it.
            return int((self.folder / "process.count").read_text() or "0")
        except FileNotFoundError:
            return 0

    def identity(self, access_key_id: str) -> Identity | None:
        number = re.fullmatch(r"ASIAPROCESS(\d+)", access_key_id)
        if number is None:
            return None
        return Identity(access_key_id, f"planted-process-{number[1]}", f"planted-process-token-{number[1]}")


class Instance(_Local):
    """The SDK's own chain, which finds an EC2 instance's role (IMDSv2)."""

    name = "default"

    def start(self, stack: contextlib.ExitStack) -> None:
        self.service = stack.enter_context(InstanceService())
        self.service.lease_seconds = self.lease_seconds

    @property
    def addresses(self) -> dict[str, str]:
        return {"instance": self.service.url}

    @property
    def environ(self) -> dict[str, str]:
        return _NO_KEYS | {
            "ASP_CREDENTIALS_PROVIDER": "default",
            "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.service.url,
            "AWS_CONFIG_FILE": str(self.folder / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "credentials"),
        }

    @property
    def fetches(self) -> int:
        return sum(asked.path == "/latest/api/token" for asked in self.service.requests)

    @property
    def sets(self) -> int:
        return self.service.handed_out

    def mend(self) -> None:
        self.service.failures = type(self.service.failures)()

    def identity(self, access_key_id: str) -> Identity | None:
        number = re.fullmatch(r"ASIAINSTANCE(\d+)", access_key_id)
        if number is None:
            return None
        end = f"INSTANCE-{number[1]}"
        return Identity(access_key_id, f"planted-secret-{end}", f"planted-token-{end}")
