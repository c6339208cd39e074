"""docs/configuration.md, made from the settings' declaration.

`python -m aws_signing_proxy.config.reference` prints the page, `--write PATH` writes it. A test fails when
the page in the repository is another one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aws_signing_proxy.config.declaration import Section
from aws_signing_proxy.config.option_help import default_of
from aws_signing_proxy.config.settings import declarations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aws_signing_proxy.config.declaration import Declaration

__all__ = ["configuration_page", "main"]

_INTRODUCTION = """\
# Configuration

<!-- Made by `python -m aws_signing_proxy.config.reference --write docs/configuration.md`. Do not edit it by hand:
     each setting is declared in src/aws_signing_proxy/config/settings.py. -->

Only `ASP_TARGET_URL` must be set. Try the settings out with `aws-signing-proxy check`: it says in plain words what is
wrong, and starts nothing.

- **Precedence**: a flag counts before the environment, the environment before the default. Where a setting has several
  names in the environment, the first one that is set counts. An empty value counts as not set, in a flag too.
- **Flags** are written with one dash or two, with a space or an equals sign: `-port 8080`, `--port=8080`. They stand
  before or after the word `check`. A boolean's flag alone means true; `--access-log=false` is the way to say no.
- **Durations** are written as in Go: `90s`, `1m30s`, `1.5h`, `500ms`, `0`. Units: `ns`, `us`, `ms`, `s`, `m`, `h`.
- **Sizes** are bytes, or have a unit in upper or lower case: `k`, `Ki`, `KiB` are 1024 bytes, `KB` is 1000, and so
  on with `m` and `g`.
- **Booleans** are `true` or `false`, also `1`, `t`, `T`, `TRUE`, `True` and `0`, `f`, `F`, `FALSE`, `False`.
- **Wrong or missing settings** are reported all at once, each by its name in the environment, with what was given
  (a secret is never shown) and what is expected. The exit status is 2, and nothing is listened on.
- A variable that starts with `ASP_` and is no setting is ignored, with a warning that names the setting it may mean.
"""

_CLOSING = """\
## Read from the environment by the credential sources

These have no flags. They are the AWS SDKs' own. The credentials provider `awstoken` reads the first five rows;
`default` (also meant where the provider is unset) reads these, and whatever else the SDKs' chain does; the last three
count wherever STS is asked.

| Environment | Meaning |
|---|---|
| `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` | A static access key. |
| `AWS_SESSION_TOKEN` | The session token that belongs to it, for temporary credentials. |
| `AWS_SHARED_CREDENTIALS_FILE` | The shared credentials file, `~/.aws/credentials` by default. |
| `AWS_CONFIG_FILE` | The shared config file, `~/.aws/config` by default. |
| `AWS_PROFILE` | The profile in these files, `default` by default. |
| `AWS_ENDPOINT_URL_STS` | The URL of STS, instead of the regional endpoint of the region's partition. |
| `AWS_CA_BUNDLE` | The certificates that are trusted for TLS to STS. |
| `AWS_USE_FIPS_ENDPOINT` | `true`: the FIPS endpoint of STS. |

`HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` (see "The way to the target") count where credentials are fetched, too: STS,
Vault, the authorization server. They mean the same there ([proxies](connections.md#through-an-http-proxy)), and
`ALL_PROXY` counts as well.

## Exit status

| Status | Meaning |
|---|---|
| 0 | All is well: the proxy ended as it was asked to, or `check` found nothing wrong. |
| 1 | It cannot run, e.g. because the port is in use. |
| 2 | Settings are wrong or missing, or the command line is. |
"""


def configuration_page() -> str:
    """Return the whole page, in Markdown."""
    sections = [
        "\n".join(
            [
                f"## {section}",
                "",
                "| Environment | Flag | Value | Default | Meaning |",
                "|---|---|---|---|---|",
                *(_row(declaration) for declaration in declarations() if declaration.section is section),
                "",
            ]
        )
        for section in Section
    ]
    return "\n".join([_INTRODUCTION, *sections, _CLOSING])


def _row(declaration: Declaration) -> str:
    default = default_of(declaration).removeprefix("default: ")
    if declaration.default_text is not None:
        default = f"`{default}`"
    value = declaration.kind.expected
    if declaration.example:
        value += f", e.g. `{declaration.example}`"
    warning = " **Secret**: best given in the environment, flags are seen in the list of processes."
    cells = (
        _code(declaration.environment),
        _code(declaration.flags) or "none",
        value,
        default,
        declaration.summary + (warning if declaration.is_secret else ""),
    )
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _code(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main(arguments: Sequence[str]) -> int:
    """Print the page, or write it to the path behind `--write`."""
    match arguments:
        case []:
            sys.stdout.write(configuration_page())
        case ["--write", path]:
            Path(path).write_text(configuration_page(), encoding="utf-8")
        case _:
            sys.stderr.write("usage: python -m aws_signing_proxy.config.reference [--write PATH]\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
