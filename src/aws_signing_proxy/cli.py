"""The command line: what was typed, in click's hands, becomes one call.

click reads flags, finds the command and reports what it does not know. What a setting is, and whether its
value is right, is `config`'s: click would stop at the first mistake, and all are to be reported at once.

Nothing heavy is imported here: --help, --version and a wrong setting answer without event loop, TLS or HTTP.

Exit statuses: 0 all is well, 1 it cannot run (a port is in use), 2 wrong settings or a wrong command line.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from aws_signing_proxy import __version__
from aws_signing_proxy.config.kinds import BOOLEAN, PORT
from aws_signing_proxy.config.loading import load_settings
from aws_signing_proxy.config.notation import FALSE_WORDS, TRUE_WORDS, UnexpectedValueError, quoted
from aws_signing_proxy.config.option_help import settings_help
from aws_signing_proxy.config.problems import SettingsError
from aws_signing_proxy.config.settings import declarations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aws_signing_proxy.config.loading import Loaded

__all__ = ["main"]

PROGRAM = "aws-signing-proxy"
EXIT_WRONG_SETTINGS = 2
# As a shell reports a process that was ended by SIGINT: 128 + 2.
EXIT_INTERRUPTED = 130

_HELP_COLUMNS = 100
_MIN_HELP_COLUMNS = 60

_HELP_INTRODUCTION = """\
Signs each HTTP request with AWS Signature Version 4 and forwards it to one AWS service.

Usage:
  {program} [OPTIONS]          run the proxy
  {program} check [OPTIONS]    say what is right and wrong with the settings, then end
  {program} demo [--once]      see requests signed and verified; needs no AWS

Each setting is a flag or an environment variable; the flag counts before the variable. Flags may be
written with one dash or two, --port 8080 or --port=8080. An empty value counts as not set.
Durations are written like 90s, 1m30s, 500ms; sizes like 65536, 64KiB, 1MiB. A BOOLEAN is true or
false; its flag alone means true.
"""

_HELP_CLOSING = """\
Others:

  --version
        Print the version and those of what it runs on.
  -h, --help
        Print this.

Static credentials are read from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN,
or from the files and the profile that AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE and AWS_PROFILE
name.

Exit status: 0 all is well; 1 it cannot run, e.g. the port is in use; 2 settings are wrong."""

_CHECK_HELP = """\
Usage: {program} check [OPTIONS]

Says in plain words what is right and wrong with the settings, fetches credentials once, as the
proxy would, asks STS who AWS says they are, and ends: with status 0 where the proxy would run and
sign, with 2 where not. Nothing is listened on.

  --no-whoami
        Do not ask STS (GetCallerIdentity).

Takes every option of the proxy itself, before or after the word check. To see them:
{program} --help"""

_DEMO_HELP = """\
Usage: {program} demo [--once] [--port PORT] [--mgmt-port PORT]

Starts a stand-in for AWS that verifies every signature, the proxy in front of it, sends a few
requests through and prints what was sent, signed and verified. Then serves until Ctrl-C. Needs no
AWS, and takes no setting from the environment.

  --once
        End after the table.
  --port PORT
        The port of the demo's proxy; 0 takes any free one. [default: 0]
  --mgmt-port PORT
        The demo's management port; 0 takes any free one. [default: 0]
  -h, --help
        Print this."""


def main(arguments: Sequence[str] | None = None, *, program: str = PROGRAM) -> int:
    """Run the command line and return the exit status."""
    typed = sys.argv[1:] if arguments is None else arguments
    try:
        status = _command().main(args=_as_click_reads(typed), prog_name=program, standalone_mode=False)
    except SettingsError as error:
        click.echo(str(error), err=True)
        return EXIT_WRONG_SETTINGS
    except click.ClickException as error:
        click.echo(f"{PROGRAM}: {error.format_message()}\nSee: {program} --help", err=True)
        return EXIT_WRONG_SETTINGS
    except click.Abort:
        return EXIT_INTERRUPTED
    return status if isinstance(status, int) else 0


class _Proxy(click.Group):
    """The program itself: every setting is an option of it."""

    def get_help(self, ctx: click.Context) -> str:
        width = max(_MIN_HELP_COLUMNS, min(_HELP_COLUMNS, _terminal_columns()))
        return "\n".join([_HELP_INTRODUCTION.format(program=ctx.command_path), settings_help(width), _HELP_CLOSING])


class _FixedHelp(click.Command):
    """A command whose help is written out, not made up from its options."""

    def get_help(self, ctx: click.Context) -> str:
        assert ctx.parent is not None  # it is only reached through the program's group
        return (self.help or "").format(program=ctx.parent.command_path)


def _terminal_columns() -> int:
    # Not shutil.get_terminal_size alone: into a pipe or a file the help has its full width.
    return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else _HELP_COLUMNS


def _command() -> click.Group:
    context = {"help_option_names": ["-h", "--help"]}
    proxy = _Proxy(
        PROGRAM,
        params=[*_setting_options(), _version_option()],
        callback=_run,
        invoke_without_command=True,
        context_settings=context,
    )
    check_options = [*_setting_options(), click.Option(["--no-whoami"], is_flag=True)]
    proxy.add_command(
        _FixedHelp("check", params=check_options, callback=_check, help=_CHECK_HELP, context_settings=context)
    )
    demo_options: list[click.Parameter] = [
        click.Option(["--once"], is_flag=True),
        click.Option(["--port"], type=str, default="0", callback=_demo_port),
        click.Option(["--mgmt-port"], type=str, default="0", callback=_demo_port),
    ]
    proxy.add_command(
        _FixedHelp("demo", params=demo_options, callback=_demo, help=_DEMO_HELP, context_settings=context)
    )
    return proxy


def _demo_port(ctx: click.Context, option: click.Parameter, text: str) -> int:
    try:
        return PORT.parse(text)
    except UnexpectedValueError:
        raise click.BadParameter(f"{quoted(text)}. Expected: {PORT.expected}", ctx, option) from None


def _setting_options() -> list[click.Parameter]:
    # Texts only: a flag's value is parsed by the setting's kind, together with all the others.
    return [
        click.Option([*declared.flags, declared.name], type=str, default=None)
        for declared in declarations()
        if declared.flags
    ]


def _version_option() -> click.Option:
    def print_version(ctx: click.Context, _option: click.Parameter, is_asked: bool) -> None:
        if is_asked and not ctx.resilient_parsing:
            click.echo(_version_text())
            ctx.exit()

    return click.Option(["--version"], is_flag=True, is_eager=True, expose_value=False, callback=print_version)


def _version_text() -> str:
    """Name the versions without importing what they belong to."""
    from importlib.metadata import PackageNotFoundError, version

    def of(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    python = ".".join(str(part) for part in sys.version_info[:3])
    return f"{PROGRAM} {__version__} (Python {python}, uvloop {of('uvloop')}, llhttp/httptools {of('httptools')})"


def _flags_given(ctx: click.Context) -> dict[str, str]:
    """Return the settings given as flags; those after the command count before those in front of it."""
    inherited = _flags_given(ctx.parent) if ctx.parent else {}
    return inherited | {name: value for name, value in ctx.params.items() if isinstance(value, str)}


def _load(ctx: click.Context, environ: dict[str, str]) -> Loaded:
    from aws_signing_proxy.payload_choice import broken_payload_rule

    return load_settings(_flags_given(ctx), environ, more_rules=(broken_payload_rule,))


@click.pass_context
def _run(ctx: click.Context, /, **_flags: Any) -> int:
    if ctx.invoked_subcommand is not None:
        return 0
    environ = dict(os.environ)
    loaded = _load(ctx, environ)

    from aws_signing_proxy.running import run_proxy

    return run_proxy(loaded, environ)


@click.pass_context
def _check(ctx: click.Context, /, *, no_whoami: bool, **_flags: Any) -> int:
    environ = dict(os.environ)
    loaded = _load(ctx, environ)

    from aws_signing_proxy.check.report import run_check

    return run_check(loaded, environ, click.echo, asks_who=not no_whoami)


@click.pass_context
def _demo(ctx: click.Context, /, *, once: bool, port: int, mgmt_port: int) -> int:
    if ctx.parent is not None and _flags_given(ctx.parent):
        raise click.UsageError("demo takes no setting of the proxy; its own options stand after the word demo.", ctx)

    from aws_signing_proxy.demo.command import run_demo

    return run_demo(once=once, port=port, mgmt_port=mgmt_port)


def _as_click_reads(arguments: Sequence[str]) -> list[str]:
    """Write Go's command line as click reads it: two dashes, and every boolean with its value.

    Go takes one dash or two, and a boolean without value. A word of strconv.ParseBool behind a boolean is
    its value; Go would silently stop reading flags there.
    """
    boolean = {flag for declared in declarations() if declared.kind is BOOLEAN for flag in declared.flags}
    valued = {flag for declared in declarations() for flag in declared.flags} - boolean
    read: list[str] = []
    waiting = list(reversed(arguments))
    while waiting:
        argument = waiting.pop()
        if argument == "--":
            return [*read, argument, *reversed(waiting)]
        if argument.startswith("-") and not argument.startswith("--") and len(argument) > len("-h"):
            argument = f"-{argument}"
        if argument in boolean:
            has_value = bool(waiting) and waiting[-1] in (*TRUE_WORDS, *FALSE_WORDS)
            read.append(f"{argument}={waiting.pop() if has_value else 'true'}")
        else:
            read.append(argument)
            if argument in valued and waiting:
                read.append(waiting.pop())
    return read
