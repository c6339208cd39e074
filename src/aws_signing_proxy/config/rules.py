"""What settings demand of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_signing_proxy.config.kinds import problem_with_readable_file
from aws_signing_proxy.config.problems import Problem
from aws_signing_proxy.config.sources import Source, SourceKind
from aws_signing_proxy.config.values import CredentialsProvider

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from aws_signing_proxy.config.sources import Candidate

    # The setting's name and what is wrong with it.
    Broken = tuple[str, Problem]

__all__ = ["REQUIRED_BY_PROVIDER", "SERVED_PROVIDERS", "broken_rules"]

# The providers that this version has. `default` is the SDKs' own chain; until it is built, it is awstoken.
SERVED_PROVIDERS = frozenset({CredentialsProvider.AWSTOKEN, CredentialsProvider.DEFAULT})

REQUIRED_BY_PROVIDER: Mapping[CredentialsProvider, tuple[str, ...]] = {
    CredentialsProvider.OIDC: ("role_arn", "open_id_auth_server_url", "open_id_client_id", "open_id_client_secret"),
    CredentialsProvider.VAULT: ("vault_url", "vault_path", "vault_auth_token"),
    CredentialsProvider.IRSA: ("role_arn", "web_identity_token_file"),
    CredentialsProvider.AWSTOKEN: (),
    CredentialsProvider.DEFAULT: (),
}

_ROLE_OF_EKS = Source(SourceKind.ENVIRONMENT, "AWS_ROLE_ARN")
_EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on


def broken_rules(candidates: Mapping[str, Candidate], *, wrong: AbstractSet[str]) -> Iterator[Broken]:
    """Yield each broken rule. A rule about a setting in `wrong`, which has no valid value, is not judged."""
    for name, candidate in candidates.items():
        if candidate.declaration.is_required and candidate.text is None:
            yield name, candidate.problem(candidate.declaration.expected)
    if "credentials_provider" not in wrong:
        yield from _provider(candidates)
    if not wrong & {"port", "mgmt_port", "bind_address", "mgmt_bind_address", "unix_socket"}:
        yield from _ports(candidates)
    if not wrong & {"body_memory_limit_bytes", "body_memory_total_bytes"}:
        yield from _body_memory(candidates)


def _provider(candidates: Mapping[str, Candidate]) -> Iterator[Broken]:
    chosen = candidates["credentials_provider"]
    provider: CredentialsProvider | None = chosen.value
    if provider is None:
        return
    for name in REQUIRED_BY_PROVIDER[provider]:
        candidate = candidates[name]
        expected = f"with the provider {provider}, {candidate.declaration.expected}"
        if provider is CredentialsProvider.OIDC and candidate.source == _ROLE_OF_EKS:
            # EKS sets it for the pod's own role. Taking it for oidc's would be another identity than was meant.
            expected += ". AWS_ROLE_ARN, which is set, counts with irsa only"
            yield name, Problem(candidate.declaration.environment[0], None, expected)
        elif candidate.text is None:
            yield name, candidate.problem(expected)
    token_file = candidates["web_identity_token_file"].value
    if provider is CredentialsProvider.IRSA and token_file and (problem := problem_with_readable_file(token_file)):
        candidate = candidates["web_identity_token_file"]
        yield candidate.declaration.name, candidate.problem(f"a readable file, not one {problem}")
    if provider not in SERVED_PROVIDERS:
        served = "awstoken, default, or nothing"
        yield (
            chosen.declaration.name,
            chosen.problem(f"{served}. This version does not have the provider {provider} yet"),
        )


def _ports(candidates: Mapping[str, Candidate]) -> Iterator[Broken]:
    port, mgmt_port = candidates["port"], candidates["mgmt_port"]
    addresses = {candidates["bind_address"].value, candidates["mgmt_bind_address"].value}
    is_shared = len(addresses) == 1 or bool(addresses & _EVERY_ADDRESS)
    if port.value == mgmt_port.value != 0 and is_shared and candidates["unix_socket"].value is None:
        # Blame the one that was set; where both were, the management port.
        blamed = mgmt_port if mgmt_port.is_set else port
        other = port if blamed is mgmt_port else mgmt_port
        yield blamed.declaration.name, blamed.problem(f"another port than {other.environment_name}, which is the same")


def _body_memory(candidates: Mapping[str, Candidate]) -> Iterator[Broken]:
    limit, total = candidates["body_memory_limit_bytes"], candidates["body_memory_total_bytes"]
    if total.value < limit.value:
        yield (
            total.declaration.name,
            total.problem(f"at least as much as {limit.environment_name}, which is {limit.text}"),
        )
