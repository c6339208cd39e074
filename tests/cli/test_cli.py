"""The command line: spellings of flags, commands, exit statuses, help, version."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from aws_signing_proxy import __version__, cli
from aws_signing_proxy.config.settings import declarations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aws_signing_proxy.config.declaration import Declaration
    from aws_signing_proxy.config.loading import Loaded

TARGET = "--target-url=https://host"

# The contract's flags of the original proxy, each with its setting, a good text, and the value.
ORIGINAL_FLAGS: list[tuple[str, str, str, object]] = [
    ("target", "target_url", "https://other/prefix", "https://other/prefix"),
    ("target-url", "target_url", "other", "https://other"),
    ("port", "port", "9000", 9000),
    ("mgmt-port", "mgmt_port", "9001", 9001),
    ("service", "service", "s3", "s3"),
    ("credentials-provider", "credentials_provider", "awstoken", "awstoken"),
    ("role-arn", "role_arn", "arn:aws:iam::1:role/x", "arn:aws:iam::1:role/x"),
    ("vault-url", "vault_url", "https://vault", "https://vault"),
    ("vault-path", "vault_path", "/v1/a/b", "a/b"),
    ("vault-token", "vault_auth_token", "token", "token"),
    ("openid-auth-server-url", "open_id_auth_server_url", "https://auth/token", "https://auth/token"),
    ("openid-client-id", "open_id_client_id", "id", "id"),
    ("openid-client-secret", "open_id_client_secret", "secret", "secret"),
    ("async-open-id-creds-fetch", "is_open_id_fetch_async", "true", True),
    ("irsa-client-id", "irsa_client_id", "session", "session"),
    ("region", "region", "us-east-1", "us-east-1"),
    ("metrics-path", "metrics_path", "/metrics", "/metrics"),
    ("flush-interval", "flush_interval_seconds", "100ms", 0.1),
    ("idle-conn-timeout", "idle_conn_timeout_seconds", "1m30s", 90.0),
    ("dial-timeout", "dial_timeout_seconds", "5s", 5.0),
    ("circuit-breaker-failure-threshold", "circuit_breaker_failure_threshold", "3", 3),
    ("circuit-breaker-timeout", "circuit_breaker_timeout_seconds", "10s", 10.0),
]


class Program:
    """The command line with recorders behind it: what it would start, and with what."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.environ: Mapping[str, str] = {}
        self.asks_who: bool | None = None
        self.status = 0

    def run_proxy(self, loaded: Loaded, environ: Mapping[str, str]) -> int:
        self.calls.append(("run", loaded))
        self.environ = environ
        return self.status

    def run_check(
        self, loaded: Loaded, environ: Mapping[str, str], echo: Callable[[str], None], *, asks_who: bool
    ) -> int:
        self.calls.append(("check", loaded))
        self.asks_who = asks_who
        self.environ = environ
        echo("checked")
        return self.status

    def run_demo(self, *, once: bool, port: int, mgmt_port: int) -> int:
        self.calls.append(("demo", (once, port, mgmt_port)))
        return self.status

    def loaded(self, *arguments: str, command: str = "run") -> Loaded:
        """Run the command line, which must be right, and return what the settings became."""
        assert cli.main(arguments) == self.status
        ((name, loaded),) = self.calls
        self.calls.clear()
        assert name == command
        return loaded  # type: ignore[no-any-return]  # a recorded call of run or check has this


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Program:
    recorder = Program()
    for module, function in [
        ("aws_signing_proxy.running", "run_proxy"),
        ("aws_signing_proxy.check.report", "run_check"),
        ("aws_signing_proxy.demo.command", "run_demo"),
    ]:
        fake = ModuleType(module)
        setattr(fake, function, getattr(recorder, function))
        monkeypatch.setitem(sys.modules, module, fake)
    for name in list(os.environ):
        if name.startswith(("ASP_", "AWS_", "SSL_CERT_FILE")):
            monkeypatch.delenv(name)
    return recorder


@pytest.mark.parametrize("template", ["--{flag} {text}", "--{flag}={text}", "-{flag} {text}", "-{flag}={text}"])
@pytest.mark.parametrize("original", ORIGINAL_FLAGS, ids=lambda original: original[0])
def test_every_flag_of_the_original_works_with_one_dash_and_two(
    program: Program, template: str, original: tuple[str, str, str, object]
) -> None:
    flag, setting, text, value = original
    loaded = program.loaded(TARGET, *template.format(flag=flag, text=text).split(" "))
    given = getattr(loaded.settings, setting)
    assert (str(given) if setting == "target_url" else given) == value
    assert str(loaded.source_of(setting)).startswith("flag --")


@pytest.mark.parametrize("flag", [flag for declared in declarations() for flag in declared.flags])
@pytest.mark.parametrize("dashes", ["-", "--"])
def test_every_flag_is_known_with_one_dash_and_two(
    program: Program, flag: str, dashes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASP_TARGET_URL", "https://host")
    # An empty value counts as not set, so that one text suits every flag.
    program.loaded(f"{dashes}{flag.removeprefix('--')}=")


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["--async-open-id-creds-fetch"], True),
        (["-async-open-id-creds-fetch"], True),
        (["--async-open-id-creds-fetch", "--port", "1"], True),
        (["--async-open-id-creds-fetch=false"], False),
        (["--async-open-id-creds-fetch", "false"], False),
        (["--async-open-id-creds-fetch", "F"], False),
        (["-async-open-id-credentials-fetch=1"], True),
        (["--async-open-id-creds-fetch=false", "--async-open-id-creds-fetch"], True),
    ],
)
def test_a_boolean_flag_alone_means_true_and_may_have_a_value(
    program: Program, arguments: list[str], value: bool
) -> None:
    assert program.loaded(TARGET, *arguments).settings.is_open_id_fetch_async is value


def test_a_boolean_flag_does_not_swallow_the_command(program: Program) -> None:
    assert program.loaded(TARGET, "--access-log", "check", command="check").settings.access_log is True


def test_a_value_may_begin_with_a_dash(program: Program) -> None:
    assert program.loaded(TARGET, "--vault-token", "-access-log").settings.vault_auth_token == "-access-log"
    assert program.loaded(TARGET, "--vault-token", "--port").settings.vault_auth_token == "--port"


def test_of_a_repeated_flag_the_last_counts_in_any_spelling(program: Program) -> None:
    assert program.loaded("--target-url", "a", "-target=b").settings.target_url.host == "b"


def test_flags_stand_before_or_after_check_and_those_after_it_win(program: Program) -> None:
    loaded = program.loaded(TARGET, "--port=1", "--service=s3", "check", "-port", "2", command="check")
    assert (loaded.settings.port, loaded.settings.service) == (2, "s3")


def test_a_flag_counts_before_the_environment(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASP_PORT", "9000")
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    loaded = program.loaded(TARGET, "--port", "9001", "--region=us-east-1")
    assert (loaded.settings.port, loaded.settings.region) == (9001, "us-east-1")
    assert program.loaded(TARGET).settings.port == 9000
    assert program.environ["ASP_PORT"] == "9000"


@pytest.mark.parametrize("status", [0, 1, 2])
@pytest.mark.parametrize("arguments", [[TARGET], [TARGET, "check"], ["demo"]])
def test_the_exit_status_is_that_of_what_was_run(program: Program, arguments: list[str], status: int) -> None:
    program.status = status
    assert cli.main(arguments) == status


@pytest.mark.parametrize(
    ("arguments", "asks_who"),
    [
        ([TARGET, "check"], True),
        (["check", TARGET], True),
        (["check", TARGET, "--no-whoami"], False),
        ([TARGET, "check", "-no-whoami"], False),
    ],
)
def test_check_asks_whose_the_credentials_are_unless_it_is_told_not_to(
    program: Program, arguments: list[str], *, asks_who: bool
) -> None:
    assert cli.main(arguments) == 0
    assert program.asks_who is asks_who


@pytest.mark.parametrize(
    "arguments", [[TARGET, "--no-whoami"], [TARGET, "--no-whoami", "check"], ["check", "--no-who"]]
)
def test_only_check_asks_so_only_check_can_be_told_not_to(program: Program, arguments: list[str]) -> None:
    assert cli.main(arguments) == 2
    assert program.calls == []


def test_check_prints_what_it_found(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    program.loaded(TARGET, "check", command="check")
    assert capsys.readouterr().out == "checked\n"


@pytest.mark.parametrize("arguments", [[], ["check"]])
def test_wrong_settings_are_reported_on_stderr_and_nothing_is_run(
    program: Program, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert cli.main([*arguments, "--port=80a", "-dial-timeout=5"]) == 2
    assert program.calls == []
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("aws-signing-proxy: 3 settings are wrong or missing; nothing was started.\n")
    assert captured.err.endswith("\nSee: aws-signing-proxy --help\n")


@pytest.mark.parametrize("arguments", [[], ["check"]])
def test_a_payload_mode_that_the_target_cannot_take_is_reported_with_the_other_wrong_settings(
    program: Program, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert cli.main([*arguments, TARGET, "--service=es", "--payload=chunked", "--port=80a"]) == 2
    assert program.calls == []
    error = capsys.readouterr().err
    assert error.startswith("aws-signing-proxy: 2 settings are wrong or missing; nothing was started.\n")
    assert '  ASP_PAYLOAD  is "chunked" (flag --payload). Expected: auto' in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prot", "1"], "'--prot'. Did you mean '--port'?"),
        (["-prot=1"], "'--prot'. Did you mean '--port'?"),
        (["check", "--trget=x"], "Did you mean"),
        (["-x"], "'-x'"),
        (["chek"], "Did you mean 'check'?"),
        (["check", "more"], "more"),
        (["--", "--port"], "--port"),
        (["--port"], "'--port' requires an argument"),
        (["demo", "--twice"], "'--twice'"),
        (["demo", "--service", "s3"], "'--service'"),
        (["demo", "--port", "80a"], '"80a". Expected: a port number from 0 to 65535'),
        (["--service", "s3", "demo"], "demo takes no setting of the proxy"),
    ],
)
def test_a_wrong_command_line_is_explained_with_status_2(
    program: Program, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert cli.main(arguments) == 2
    assert program.calls == []
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("aws-signing-proxy: ")
    assert said in captured.err
    assert captured.err.endswith("See: aws-signing-proxy --help\n")


def test_a_misspelt_flag_does_not_show_its_value(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--vault-tokn=s3cr3t"]) == 2
    assert cli.main(["--vault-tokn", "s3cr3t"]) == 2
    assert "s3cr3t" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        ([], (False, 0, 0)),
        (["--once"], (True, 0, 0)),
        (["-once"], (True, 0, 0)),
        (["--port", "9000", "-mgmt-port=9001"], (False, 9000, 9001)),
    ],
)
def test_demo_takes_its_own_options(program: Program, arguments: list[str], call: tuple[bool, int, int]) -> None:
    assert cli.main(["demo", *arguments]) == 0
    assert program.calls == [("demo", call)]


def test_demo_reads_no_setting_from_the_environment(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASP_PORT", "80a")
    assert cli.main(["demo"]) == 0
    assert program.calls == [("demo", (False, 0, 0))]


def test_ctrl_c_before_the_proxy_runs_ends_as_shells_expect(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["aws_signing_proxy.running"], "run_proxy", interrupted)
    assert cli.main([TARGET]) == 130


@pytest.mark.parametrize("flag", ["--help", "-help", "-h"])
def test_help_is_printed_and_nothing_is_run(program: Program, capsys: pytest.CaptureFixture[str], flag: str) -> None:
    assert cli.main([flag, "--port=80a"]) == 0
    assert program.calls == []
    assert "aws-signing-proxy demo [--once]" in capsys.readouterr().out


@pytest.mark.parametrize("declared", declarations(), ids=lambda declared: declared.name)
def test_help_names_every_setting_with_flags_environment_and_default(
    declared: Declaration, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in (*declared.flags, *declared.environment, declared.default_text or ""):
        assert name in text


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"], ["demo", "--help"]])
def test_help_fits_into_100_columns(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 0
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= 100


@pytest.mark.parametrize(("columns", "widest"), [(20, 95), (80, 95), (300, 100)])
def test_help_follows_the_width_of_the_terminal_up_to_100_columns(
    columns: int, widest: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "_terminal_columns", lambda: columns)
    assert cli.main(["--help"]) == 0
    summaries = [
        line
        for line in capsys.readouterr().out.partition("Target and signing:")[2].partition("Others:")[0].splitlines()
        if line.startswith("        ") and "[" not in line
    ]
    assert max(map(len, summaries)) <= max(60, min(columns, widest))


@pytest.mark.parametrize("command", ["check", "demo"])
def test_the_help_of_a_command_names_the_program(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: aws-signing-proxy {command} [")


def test_version_names_the_program_and_what_it_runs_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    version = capsys.readouterr().out
    python = ".".join(map(str, sys.version_info[:3]))
    assert version.startswith(f"aws-signing-proxy {__version__} (Python {python}, uvloop ")
    assert ", llhttp/httptools " in version


def test_version_says_which_library_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from importlib import metadata

    def missing(package: str) -> str:
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "version", missing)
    assert cli.main(["-version"]) == 0
    assert "uvloop not installed" in capsys.readouterr().out


def test_python_m_does_the_same_under_its_own_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["__main__.py", "check", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("aws_signing_proxy", run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("Usage: python -m aws_signing_proxy check [OPTIONS]")


_HEAVY = {"ssl", "asyncio", "uvloop", "httptools", "starlette", "uvicorn", "structlog", "prometheus_client", "logging"}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["check", "--port=80a"], ["--port=80a"]])
def test_nothing_heavy_is_imported_before_there_is_something_to_run(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        "from aws_signing_proxy.cli import main\n"
        f"main({arguments!r})\n"
        f"print('heavy:', sorted({_HEAVY!r} & set(sys.modules)))"
    )
    environ = {name: text for name, text in os.environ.items() if name == "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environ)
    assert done.stdout.splitlines()[-1] == "heavy: []"
