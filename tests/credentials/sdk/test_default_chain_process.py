"""The `default` provider's credential_process: real programs, good ones and every other kind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.provider import CredentialsUnavailableError
from tests.credentials.sdk.aws_home import AwsHome
from tests.credentials.sdk.metadata_servers import when

GOOD = '{"Version": 1, "AccessKeyId": "PROCESS-ID", "SecretAccessKey": "planted-secret"%s}'


@pytest.fixture(name="home")
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AwsHome:
    home = AwsHome(monkeypatch, tmp_path)
    home.write("config", f"[default]\ncredential_process = {tmp_path}/helper --password planted-password\n")
    return home


def printing(text: str) -> str:
    return f"cat <<'END'\n{text}\nEND\n"


def test_what_a_program_prints_is_used(home: AwsHome) -> None:
    ends_at = int(time.time()) + 600
    home.script("helper", printing(GOOD % f', "SessionToken": "planted-token", "Expiration": "{when(ends_at)}"'))
    fetch = Fetch()
    credentials = home.provider().retrieve(fetch)
    assert (credentials.access_key_id, credentials.secret_access_key) == ("PROCESS-ID", "planted-secret")
    assert (credentials.session_token, credentials.expires_at) == ("planted-token", ends_at)
    assert credentials.source == (f"profile default in {home.path}/.aws/config (credential_process {home.path}/helper)")


def test_the_secrets_of_what_a_program_prints_are_known_though_it_is_refused(home: AwsHome) -> None:
    home.script("helper", printing(GOOD % ', "SessionToken": "planted-token", "Expiration": "2020-01-01T00:00:00Z"'))
    fetch = Fetch()
    with pytest.raises(CredentialsUnavailableError):
        home.provider().retrieve(fetch)
    assert fetch.secrets == ["planted-secret", "planted-token"]


def test_a_program_is_run_once_at_every_fetch_however_short_its_lease(home: AwsHome) -> None:
    lease = f', "Expiration": "{when(time.time() + 30)}"'
    home.script("helper", f"echo run >> {home.path}/runs\n{printing(GOOD % lease)}")
    provider = home.provider()
    for runs in (1, 2, 3):
        assert home.fetch(provider).expires_at is not None
        assert (home.path / "runs").read_text().split() == ["run"] * runs


def test_credentials_without_an_end_have_none(home: AwsHome) -> None:
    home.script("helper", printing(GOOD % ""))
    credentials = home.fetch()
    assert (credentials.expires_at, credentials.session_token) == (None, None)


@pytest.mark.parametrize(
    ("text", "reason", "is_conclusive"),
    [
        ("echo planted-secret >&2; exit 1\n", "it failed with exit status 1", False),
        ("echo planted-secret; exit 3\n", "it failed with exit status 3", False),
        ("kill -9 $$\n", "it was ended by signal 9", False),
        ("echo planted-garbage\n", "what it printed is not JSON", True),
        ("", "what it printed is not JSON", True),
        ("printf '\\377\\376planted'\n", "what it printed is not JSON", True),
        (printing('["planted"]'), "what it printed is not a JSON object", True),
        (printing('{"Version": 2, "SecretAccessKey": "planted-secret"}'), "what it printed has no Version 1", True),
        (printing('{"Version": 1, "AccessKeyId": "A"}'), "what it printed has no SecretAccessKey", True),
        (printing('{"Version": 1, "AccessKeyId": null}'), "what it printed has no AccessKeyId", True),
        (printing(GOOD % ', "SessionToken": 1'), "the SessionToken that it printed is no string", True),
        (printing(GOOD % ', "Expiration": "planted"'), "the Expiration that it printed is no time", True),
        (printing(GOOD % ', "Expiration": 5'), "the Expiration that it printed is no time", True),
        (
            printing(GOOD % ', "Expiration": "2020-01-01T00:00:00Z"'),
            "the credentials that it printed expired at 2020-01-01T00:00:00Z",
            False,
        ),
        ("head -c 300000 /dev/zero\n", "printed more than 262144 bytes", True),
        ("[ -t 0 ] && exit 9\nread line || exit 7\n", "it failed with exit status 7", False),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_a_program_that_fails_is_told_without_a_word_of_what_it_printed(
    home: AwsHome, text: str, reason: str, is_conclusive: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    home.script("helper", text)
    error = home.failure()
    assert error.is_conclusive == is_conclusive
    assert str(error).startswith(f"credential_process {home.path}/helper: {reason}")
    assert capfd.readouterr() == ("", "")


def test_a_program_that_is_not_there_or_not_executable_is_told(home: AwsHome) -> None:
    error = home.failure()
    assert error.is_conclusive
    assert "there is no such program, or not the interpreter that it names (Install it" in str(error)
    (home.path / "helper").write_text("no program")
    error = home.failure()
    assert error.is_conclusive
    assert "it cannot be run (Permission denied)" in str(error)


def test_a_program_that_cannot_be_started_for_want_of_anything_may_be_tried_again(
    home: AwsHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    error = home.failure()
    assert not error.is_conclusive
    assert "it could not be started (Resource temporarily unavailable)" in str(error)


def test_a_program_whose_end_the_system_takes_note_of_itself_is_used_too(home: AwsHome) -> None:
    home.script("helper", printing(GOOD % ""))
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert home.fetch().access_key_id == "PROCESS-ID"
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.parametrize("command", ["", "'unclosed", "PASSWORD=planted helper"])
def test_a_command_line_that_is_none_is_told(home: AwsHome, command: str) -> None:
    home.write("config", f"[default]\ncredential_process = {command}\n")
    assert home.failure().is_conclusive


def has_ended(process_id: int) -> bool:
    """Whether a process is gone, or waits to be reaped by whoever adopted it."""
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


@pytest.mark.parametrize("where", ["profile", "source_profile"])
def test_a_program_that_hangs_is_ended_with_its_children_when_the_time_is_over(home: AwsHome, where: str) -> None:
    home.script("helper", f"sleep 60 &\necho $! $$ > {home.path}/children\nsleep 60\n")
    if where == "source_profile":
        base = f"[profile base]\ncredential_process = {home.path}/helper\n"
        home.write("config", f"[default]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = base\n{base}")
    error = home.failure(timeout_seconds=0.4)
    assert not error.is_conclusive
    assert "it was not done within the fetch's time, and was ended" in str(error)
    deadline = time.monotonic() + 5
    children = [int(word) for word in (home.path / "children").read_text().split()]
    assert len(children) == 2
    while not all(has_ended(child) for child in children):
        assert time.monotonic() < deadline, "a child outlived the fetch"
        time.sleep(0.01)


def test_a_child_that_holds_the_output_open_does_not_delay_what_was_printed(home: AwsHome) -> None:
    home.script("helper", f"sleep 60 &\n{printing(GOOD % '')}")
    began = time.monotonic()
    assert home.fetch().access_key_id == "PROCESS-ID"
    assert time.monotonic() - began < 5


def test_a_program_that_closes_its_output_and_hangs_is_ended_too(home: AwsHome) -> None:
    home.script("helper", f"{printing(GOOD % '')}exec >&-\nsleep 60\n")
    assert "it was not done within the fetch's time" in str(home.failure(timeout_seconds=0.3))


def test_a_program_that_asks_for_input_gets_none_though_the_proxy_has_a_terminal(home: AwsHome) -> None:
    home.script("helper", "read line || exit 7\n")
    kept = os.dup(0)
    reading, writing = os.pipe()
    try:
        os.dup2(reading, 0)
        assert "it failed with exit status 7" in str(home.failure(timeout_seconds=2))
    finally:
        os.dup2(kept, 0)
        for descriptor in (kept, reading, writing):
            os.close(descriptor)


def open_things() -> tuple[int, str]:
    """Return how many descriptors this process has, and its children."""
    children = "".join(path.read_text() for path in Path("/proc/self/task").glob("*/children"))
    return len(list(Path("/proc/self/fd").iterdir())), children


def test_many_runs_leave_no_descriptor_and_no_process(home: AwsHome) -> None:
    home.script("helper", printing(GOOD % ""))
    provider = home.provider()
    home.fetch(provider)
    before = open_things()
    for _ in range(20):
        home.fetch(provider)
    assert open_things() == before
