"""The program that `credential_process` of a profile names: run within a fetch's time, and never quoted.

Its protocol is the AWS SDKs and tools reference's, "Process credential provider": one JSON object on standard output
with `Version` 1, `AccessKeyId`, `SecretAccessKey`, and where they end `SessionToken` and `Expiration` (ISO 8601).

What it prints may hold secrets in any place, standard error too (a script under `set -x`), and so may its arguments:
messages name the program and its exit status, and nothing else of it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import shlex
import signal
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError

__all__ = ["SHORTAGES", "CredentialProcess", "ProcessRunner", "instant_of", "program_of"]

SHORTAGES: Final = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
"""Errors of the system that pass: out of processes, memory, descriptors."""

# How often a program that is silent is looked at, in seconds: it may have ended and left its output to a child.
_LOOK_SECONDS: Final = 0.05
_LARGEST_OUTPUT_BYTES: Final = 1 << 18
_BY_HAND: Final = "Run the command by hand as the user that runs the proxy, and see what it says"


def program_of(command: str) -> str:
    """Return the name of the program that a command line runs, which is all of it that may be shown."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    # A first word with "=" was meant for a shell, which there is none: what stands behind it may be a password.
    return words[0] if words and "=" not in words[0] else "its program"


def instant_of(text: object) -> float | None:
    """Return a time in ISO 8601 as seconds since the epoch (UTC where it names no zone), None where it is none."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


class ProcessRunner:
    """Starts the programs of one fetch: what botocore's ProcessProvider takes for `popen`."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    def __call__(self, arguments: Sequence[str], **_pipes: Any) -> CredentialProcess:
        """Start a program. The pipes that the caller asks for are not heeded: it gets none but standard output."""
        return CredentialProcess(arguments, self._fetch)


class CredentialProcess:
    """One run. It has no terminal and no input, is the leader of a group of its own, and ends with the fetch.

    `communicate` and `returncode` are those of `subprocess.Popen`, as far as botocore uses them; every failure is
    raised by `communicate` itself, before botocore could quote what was printed.
    """

    def __init__(self, arguments: Sequence[str], fetch: Fetch) -> None:
        self.returncode: int | None = None
        self._fetch = fetch
        self._program = program_of(shlex.join(arguments[:1]))
        self._source = f"credential_process {fetch.shown(self._program)}"
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the user's own configuration names it
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise self._not_started(error) from None
        except IndexError:
            raise self._broken("it is empty", "Set it to a command, or remove it from the profile") from None
        fetch.has_asked = True

    def communicate(self) -> tuple[bytes, bytes]:
        """Return what was printed, and nothing for standard error.

        Raises:
            CredentialsUnavailableError: It was not done in time, failed, or printed no usable credentials. Where it
                ran and failed that is not conclusive: helpers ask servers that may be back in a moment.
        """
        try:
            printed = self._read()
        finally:
            self._end()
        if self.returncode != 0:
            raise self._failed(_ending(self.returncode), _BY_HAND)
        self._examine(printed)
        return printed, b""

    def _read(self) -> bytes:
        """Return everything up to the end of the output, or of the program: a child of it may outlive it."""
        stdout = self._process.stdout
        if stdout is None:  # for the type checker: it was asked for
            return b""
        printed = bytearray()
        with stdout, selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            is_over = False
            while not is_over:
                is_ended = self._has_ended()
                if selector.select(0 if is_ended else self._fetch.timeout_seconds(_LOOK_SECONDS)):
                    piece = os.read(stdout.fileno(), 1 << 16)
                    printed += piece
                    is_over = not piece
                else:
                    is_over = is_ended
                if len(printed) > _LARGEST_OUTPUT_BYTES:
                    raise self._broken(f"printed more than {_LARGEST_OUTPUT_BYTES} bytes", _BY_HAND)
                self._check_time()
        while not self._has_ended():
            self._fetch.pause(_LOOK_SECONDS)
            self._check_time()
        return bytes(printed)

    def _check_time(self) -> None:
        if self._fetch.remaining_seconds <= 0 and not self._has_ended():
            advice = f"{_BY_HAND}; one that asks for something must be given it in another way"
            raise self._failed("it was not done within the fetch's time, and was ended", advice)

    def _has_ended(self) -> bool:
        """Whether it has. Not reaped here, where the system can tell without: its group's number stays its own."""
        if not hasattr(os, "waitid"):
            return self._process.poll() is not None
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # reaped by the system: somebody has it ignore SIGCHLD
            return True

    def _end(self) -> None:
        """End the whole group, and reap its leader."""
        if self._process.returncode is None:
            # EPERM: all that is left of the group runs as another user (sudo), and ends by itself or not at all.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self.returncode = self._process.wait()

    def _examine(self, printed: bytes) -> None:
        """Make the secrets known, and refuse what is not the protocol's document."""
        try:
            document = json.loads(printed)
        except (ValueError, RecursionError):
            # `from None`: the parser's error holds all that was printed.
            raise self._broken("what it printed is not JSON", _BY_HAND) from None
        if not isinstance(document, dict):
            raise self._broken("what it printed is not a JSON object", _BY_HAND)
        for name in ("SecretAccessKey", "SessionToken"):
            if isinstance(document.get(name), str):
                self._fetch.secret(document[name])
        if document.get("Version") != 1:
            raise self._broken("what it printed has no Version 1", "Use a helper that speaks version 1 of the protocol")
        for name in ("AccessKeyId", "SecretAccessKey"):
            if not isinstance(document.get(name), str) or not document[name].strip():
                raise self._broken(f"what it printed has no {name}", _BY_HAND)
        if not isinstance(document.get("SessionToken", ""), str | None):
            raise self._broken("the SessionToken that it printed is no string", _BY_HAND)
        if document.get("Expiration") is not None:
            self._check_expiration(document["Expiration"])

    def _check_expiration(self, expiration: object) -> None:
        ends_at = instant_of(expiration)
        if ends_at is None:
            raise self._broken("the Expiration that it printed is no time in ISO 8601", _BY_HAND)
        if ends_at <= self._fetch.now():
            ended = datetime.fromtimestamp(ends_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            advice = f"{_BY_HAND}; a cache of its own may be stale, or a clock may be wrong"
            raise self._failed(f"the credentials that it printed expired at {ended}", advice)

    def _not_started(self, error: Exception) -> CredentialsUnavailableError:
        if isinstance(error, FileNotFoundError):
            reason = "there is no such program, or not the interpreter that it names"
            return self._broken(reason, "Install it, or write its whole path in the profile")
        if isinstance(error, OSError) and error.errno in SHORTAGES:
            return self._failed(
                f"it could not be started ({error.strerror})", "Raise the limits of the proxy's process"
            )
        reason = (error.strerror if isinstance(error, OSError) else None) or "its command line cannot be used"
        return self._broken(f"it cannot be run ({reason})", "Let the user that runs the proxy execute it")

    def _broken(self, reason: str, advice: str) -> CredentialsUnavailableError:
        return CredentialsUnavailableError((Attempt(self._source, reason, advice),), is_conclusive=True)

    def _failed(self, reason: str, advice: str) -> CredentialsUnavailableError:
        return CredentialsUnavailableError((Attempt(self._source, reason, advice),))


def _ending(status: int | None) -> str:
    if status is not None and status < 0:
        return f"it was ended by signal {-status}"
    return f"it failed with exit status {status}"
