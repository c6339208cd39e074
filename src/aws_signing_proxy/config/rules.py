"""What settings demand of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_signing_proxy.config.connection_rules import broken_connection_rules
from aws_signing_proxy.config.kinds import problem_with_readable_file
from aws_signing_proxy.config.problems import Problem
from aws_signing_proxy.config.sources import Source, SourceKind
from aws_signing_proxy.config.values import CredentialsProvider, VaultAuthMethod

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from aws_signing_proxy.config.sources import Candidate

    # The setting's name and what is wrong with it.
    Broken = tuple[str, Problem]

__all__ = ["SETTINGS_OF_PROVIDER", "broken_rules", "vault_auth_method"]

SETTINGS_OF_PROVIDER: Mapping[CredentialsProvider, tuple[str, ...]] = {
    CredentialsProvider.OIDC: (
        "role_arn",
        "open_id_auth_server_url",
        "open_id_issuer_url",
        "open_id_client_id",
        "open_id_client_secret",
        "open_id_client_secret_file",
        "open_id_client_key_file",
        "open_id_client_key_id",
        "open_id_client_auth",
        "open_id_scope",
        "open_id_audience",
    ),
    CredentialsProvider.VAULT: (
        "vault_url",
        "vault_path",
        "vault_auth_method",
        "vault_auth_mount",
        "vault_auth_token",
        "vault_auth_token_file",
        "vault_auth_role",
        "vault_role_id",
        "vault_secret_id",
        "vault_secret_id_file",
        "vault_jwt_file",
        "vault_namespace",
        "vault_client_cert",
        "vault_client_key",
        "vault_aws_role_arn",
        "vault_aws_ttl_seconds",
    ),
    CredentialsProvider.IRSA: ("role_arn", "irsa_client_id", "web_identity_token_file"),
    CredentialsProvider.AWSTOKEN: (),
    CredentialsProvider.DEFAULT: (),
}
"""What only this provider reads, by the settings' attributes."""

# One of each row must be set; the first is what is asked for.
_REQUIRED_BY_PROVIDER: Mapping[CredentialsProvider, tuple[tuple[str, ...], ...]] = {
    CredentialsProvider.OIDC: (
        ("role_arn",),
        ("open_id_auth_server_url", "open_id_issuer_url"),
        ("open_id_client_id",),
        ("open_id_client_secret", "open_id_client_secret_file", "open_id_client_key_file"),
    ),
    CredentialsProvider.VAULT: (("vault_url",), ("vault_path",)),
    CredentialsProvider.IRSA: (("role_arn",), ("web_identity_token_file",)),
    CredentialsProvider.AWSTOKEN: (),
    CredentialsProvider.DEFAULT: (),
}

_LOGIN_REQUIRES: Mapping[VaultAuthMethod, tuple[str, ...]] = {
    VaultAuthMethod.TOKEN: ("vault_auth_token",),
    VaultAuthMethod.TOKEN_FILE: ("vault_auth_token_file",),
    VaultAuthMethod.APPROLE: ("vault_role_id",),
    VaultAuthMethod.KUBERNETES: ("vault_auth_role",),
    VaultAuthMethod.JWT: ("vault_auth_role", "vault_jwt_file"),
}

_ROLE_OF_EKS = Source(SourceKind.ENVIRONMENT, "AWS_ROLE_ARN")
_EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on


def broken_rules(candidates: Mapping[str, Candidate], *, wrong: AbstractSet[str]) -> Iterator[Broken]:
    """Yield each broken rule. A rule about a setting in `wrong`, which has no valid value, is not judged."""
    for name, candidate in candidates.items():
        if candidate.declaration.is_required and candidate.text is None:
            yield name, candidate.problem(candidate.declaration.expected)
    if "credentials_provider" not in wrong:
        yield from _provider(candidates, wrong)
    if not wrong & {"assume_role_arns", "assume_role_options"}:
        yield from _roles(candidates)
    if not wrong & {"port", "mgmt_port", "bind_address", "mgmt_bind_address", "unix_socket"}:
        yield from _ports(candidates)
    if not wrong & {"body_memory_limit_bytes", "body_memory_total_bytes"}:
        yield from _body_memory(candidates)
    if not wrong & {"warm_connections", "max_upstream_connections"}:
        yield from _warm_connections(candidates)
    if not wrong & {"workers", "max_connections", "max_upstream_connections"}:
        yield from _workers(candidates)
    yield from broken_connection_rules(candidates, wrong)


def _provider(candidates: Mapping[str, Candidate], wrong: AbstractSet[str]) -> Iterator[Broken]:
    chosen = candidates["credentials_provider"]
    provider: CredentialsProvider | None = chosen.value
    if provider is None:
        return
    for names in _REQUIRED_BY_PROVIDER[provider]:
        yield from _one_of(candidates, provider, names)
    if provider is CredentialsProvider.VAULT and "vault_auth_method" not in wrong:
        yield from _vault_login(candidates)
    token_file = candidates["web_identity_token_file"].value
    if provider is CredentialsProvider.IRSA and token_file and (problem := problem_with_readable_file(token_file)):
        candidate = candidates["web_identity_token_file"]
        yield candidate.declaration.name, candidate.problem(f"a readable file, not one {problem}")


def _one_of(
    candidates: Mapping[str, Candidate], provider: CredentialsProvider, names: tuple[str, ...]
) -> Iterator[Broken]:
    """Yield the first of `names` as missing where none of them is set."""
    name = names[0]
    candidate = candidates[name]
    expected = f"with the provider {provider}, {candidate.declaration.expected}"
    if len(names) > 1:
        expected += f". {' or '.join(candidates[other].environment_name for other in names[1:])} can take its place"
    if provider is CredentialsProvider.OIDC and candidate.source == _ROLE_OF_EKS:
        # EKS sets it for the pod's own role. Taking it for oidc's would be another identity than was meant.
        expected += ". AWS_ROLE_ARN, which is set, counts with irsa only"
        yield name, Problem(candidate.declaration.environment[0], None, expected)
    elif all(candidates[other].text is None for other in names):
        yield name, candidate.problem(expected)


def _vault_login(candidates: Mapping[str, Candidate]) -> Iterator[Broken]:
    chosen: VaultAuthMethod | None = candidates["vault_auth_method"].value
    method = chosen or vault_auth_method({name: each.text for name, each in candidates.items()})
    for name in _LOGIN_REQUIRES[method]:
        candidate = candidates[name]
        if candidate.text is None:
            expected = f"with the provider vault, {candidate.declaration.expected}"
            if chosen is None and method is VaultAuthMethod.TOKEN:
                expected += ". Another way to log in can take its place: ASP_VAULT_AUTH_METHOD"
            elif chosen is not None:
                expected += f". ASP_VAULT_AUTH_METHOD is {chosen}"
            yield name, candidate.problem(expected)


def vault_auth_method(given: Mapping[str, object | None]) -> VaultAuthMethod:
    """Return the login method that the settings tell which are set; `given` is by their attributes' names."""
    for name, method in (
        ("vault_auth_token", VaultAuthMethod.TOKEN),
        ("vault_auth_token_file", VaultAuthMethod.TOKEN_FILE),
        ("vault_role_id", VaultAuthMethod.APPROLE),
    ):
        if given.get(name) is not None:
            return method
    if given.get("vault_auth_role") is None:
        return VaultAuthMethod.TOKEN
    return VaultAuthMethod.KUBERNETES if given.get("vault_jwt_file") is None else VaultAuthMethod.JWT


def _roles(candidates: Mapping[str, Candidate]) -> Iterator[Broken]:
    arns, options = candidates["assume_role_arns"].value, candidates["assume_role_options"]
    if options.value is None:
        return
    if arns is None:
        yield options.declaration.name, options.problem("nothing, because ASP_ASSUME_ROLE_ARNS is not set")
    elif len(options.value) not in {1, len(arns)}:
        yield (
            options.declaration.name,
            options.problem(f"one object for all roles, or {len(arns)}: one for each of ASP_ASSUME_ROLE_ARNS"),
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


def _warm_connections(candidates: Mapping[str, Candidate]) -> Iterator[Broken]:
    warm, most = candidates["warm_connections"], candidates["max_upstream_connections"]
    if warm.value > most.value:
        yield (
            warm.declaration.name,
            warm.problem(f"at most as many as {most.environment_name}, which is {most.text}"),
        )


def _body_memory(candidates: Mapping[str, Candidate]) -> Iterator[Broken]:
    limit, total = candidates["body_memory_limit_bytes"], candidates["body_memory_total_bytes"]
    if total.value < limit.value:
        yield (
            total.declaration.name,
            total.problem(f"at least as much as {limit.environment_name}, which is {limit.text}"),
        )


def _workers(candidates: Mapping[str, Candidate]) -> Iterator[Broken]:
    """Each worker has its part of these limits, and a part of nothing serves nobody."""
    workers = candidates["workers"]
    for divided in (candidates["max_connections"], candidates["max_upstream_connections"]):
        if workers.value != "auto" and workers.value > divided.value:
            yield (
                workers.declaration.name,
                workers.problem(f"at most as many as {divided.environment_name}, which is {divided.text}"),
            )
            return
