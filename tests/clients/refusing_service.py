"""A verifying service that refuses in the words of one of AWS's services, and ends credentials when a test wants it."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

from aws_signing_proxy.sigv4 import Identity
from aws_signing_proxy.sigv4.verification import SignatureRejected
from tests.clients.verifying_service import Reply, VerifyingService
from tests.sigv4.refusal_answers import AMBIGUOUS, REJECTED, SKEWED, Answer

__all__ = ["DIALECTS", "NumberedSets", "RefusingService"]

DIALECTS = {
    # The answer to a wrong time, and the one to credentials that have ended.
    "S3": (SKEWED[0], REJECTED[0]),
    "DynamoDB": (SKEWED[2], REJECTED[4]),
    "STS": (SKEWED[5], REJECTED[2]),
    "OpenSearch": (SKEWED[7], REJECTED[7]),
    "EC2": (AMBIGUOUS[0], AMBIGUOUS[0]),
}
_CLOCK = "RequestTimeTooSkewed"
_CREDENTIALS = "InvalidClientTokenId"


class NumberedSets:
    """Credentials from the program of a profile's `credential_process`: each run gives the next set.

    `accepted` is the number of the one set that the service knows.
    """

    def __init__(self, folder: Path) -> None:
        self.accepted = 1
        self._runs = folder / "runs"
        program = folder / "next_set.py"
        program.write_text(
            "import json, pathlib\n"
            f"runs = pathlib.Path({str(self._runs)!r})\n"
            "number = len(runs.read_text()) + 1 if runs.exists() else 1\n"
            "runs.write_text('x' * number)\n"
            "print(json.dumps({'Version': 1, 'AccessKeyId': f'AKIASET{number}', 'SecretAccessKey': f'secret/{number}',"
            " 'SessionToken': f'token/{number}', 'Expiration': '2099-01-01T00:00:00Z'}))\n",
            encoding="utf-8",
        )
        config = folder / "config"
        config.write_text(f"[default]\ncredential_process = {sys.executable} {program}\n", encoding="utf-8")
        self.environ = {"AWS_CONFIG_FILE": str(config)}

    @property
    def given(self) -> int:
        """How many sets have been asked for."""
        with contextlib.suppress(FileNotFoundError):
            return len(self._runs.read_text(encoding="utf-8"))
        return 0

    def identity(self, access_key_id: str) -> Identity | None:
        """Return who signs, if the service knows that set (still, or already)."""
        if access_key_id != f"AKIASET{self.accepted}":
            return None
        return Identity(access_key_id, f"secret/{self.accepted}", f"token/{self.accepted}")


class RefusingService(VerifyingService):
    """Refuses in the words of `dialect`, one of DIALECTS."""

    dialect = "OpenSearch"

    def refusal(self, rejected: SignatureRejected) -> Reply:
        """Return the answer as that service words it."""
        skewed, ended = DIALECTS[self.dialect]
        answers: dict[str, Answer] = {_CLOCK: skewed, _CREDENTIALS: ended}
        answer = answers.get(rejected.code)
        if answer is None:
            return super().refusal(rejected)
        body = answer.body_at(self.now)
        is_json = body.startswith(b"{")
        if is_json:
            assert json.loads(body)
        return Reply(answer.status, body, "application/json" if is_json else "text/xml")
