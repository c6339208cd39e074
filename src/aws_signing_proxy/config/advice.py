"""What is suspicious about the settings without being wrong: typing mistakes, what is set but not used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_signing_proxy.config.connection_rules import connection_advice
from aws_signing_proxy.config.declaration import PREFIX
from aws_signing_proxy.config.notation import quoted
from aws_signing_proxy.config.rules import SETTINGS_OF_PROVIDER
from aws_signing_proxy.config.settings import declarations
from aws_signing_proxy.config.sources import SourceKind
from aws_signing_proxy.config.values import CredentialsProvider

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aws_signing_proxy.config.sources import Candidate

__all__ = ["advice_on", "unknown_variables"]


def advice_on(candidates: Mapping[str, Candidate], environ: Mapping[str, str]) -> list[str]:
    """Return sentences for a person; they hold names of settings, and no values."""
    return [
        *unknown_variables(environ),
        *_secret_flags(candidates),
        *_unused_provider_settings(candidates),
        *connection_advice(candidates, environ),
    ]


def unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each variable that looks like a setting and is none, with the name that may be meant."""
    known = [name for declaration in declarations() for name in declaration.environment]
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
            from difflib import get_close_matches  # hardly any start has something to say here

            close = get_close_matches(name, known, n=1, cutoff=0.75)
            hint = f" Did you mean {close[0]}?" if close else ""
            # An environment name can hold anything but "=": quote what could act on a terminal.
            shown = name if name.isprintable() else quoted(name)
            yield f"{shown} is not a setting of this version; it is ignored.{hint}"


def _secret_flags(candidates: Mapping[str, Candidate]) -> Iterator[str]:
    for candidate in candidates.values():
        if candidate.declaration.is_secret and candidate.source.kind is SourceKind.FLAG:
            yield (
                f"{candidate.source.name} holds a secret: other users of this machine can read it in the list of "
                f"processes. Set {candidate.declaration.environment[0]} instead."
            )


def _unused_provider_settings(candidates: Mapping[str, Candidate]) -> Iterator[str]:
    """Somebody who configured Vault and forgot to choose it would be signed for with another identity."""
    chosen: CredentialsProvider = candidates["credentials_provider"].value or CredentialsProvider.DEFAULT
    for provider, names in SETTINGS_OF_PROVIDER.items():
        unused = [
            candidates[name].environment_name
            for name in names
            if name not in SETTINGS_OF_PROVIDER[chosen]
            and candidates[name].is_set
            and candidates[name].environment_name.startswith(PREFIX)  # EKS sets the AWS_ ones in every pod
            and name != "role_arn"  # of two providers: the others' settings tell them apart
        ]
        if unused:
            yield f"{', '.join(unused)}: not used, because ASP_CREDENTIALS_PROVIDER is {chosen}, not {provider}."
