"""What settings demand of each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from aws_signing_proxy.config.loading import Loaded, load_settings
from aws_signing_proxy.config.problems import SettingsError
from aws_signing_proxy.config.rules import vault_auth_method
from aws_signing_proxy.config.values import CredentialsProvider

COMPLETE = {
    "oidc": {
        "ASP_ROLE_ARN": "arn:aws:iam::1:role/x",
        "ASP_OPEN_ID_AUTH_SERVER_URL": "https://auth/token",
        "ASP_OPEN_ID_CLIENT_ID": "id",
        "ASP_OPEN_ID_CLIENT_SECRET": "secret",
    },
    "vault": {"ASP_VAULT_URL": "https://vault", "ASP_VAULT_PATH": "a/b", "ASP_VAULT_AUTH_TOKEN": "token"},
    "irsa": {"ASP_ROLE_ARN": "arn:aws:iam::1:role/x", "AWS_WEB_IDENTITY_TOKEN_FILE": __file__},
}


def load(**environ: str) -> Loaded:
    return load_settings({}, {"ASP_TARGET_URL": "https://host"} | environ)


def problems_of(**environ: str) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        load(**environ)
    return {problem.environment_name: problem.sentence for problem in caught.value.problems}


@pytest.mark.parametrize("provider", COMPLETE)
def test_a_provider_reports_every_setting_that_it_misses(provider: str) -> None:
    problems = problems_of(ASP_CREDENTIALS_PROVIDER=provider)
    assert problems.keys() == {*COMPLETE[provider]}
    for name in COMPLETE[provider]:
        assert problems[name].startswith(f"is not set. Expected: with the provider {provider}, the ")


@pytest.mark.parametrize(
    ("provider", "missing"), [(provider, name) for provider in COMPLETE for name in COMPLETE[provider]]
)
def test_each_required_setting_is_missed_on_its_own(provider: str, missing: str) -> None:
    environ = {name: text for name, text in COMPLETE[provider].items() if name != missing}
    assert problems_of(ASP_CREDENTIALS_PROVIDER=provider, **environ).keys() == {missing}


@pytest.mark.parametrize("provider", COMPLETE)
def test_a_provider_with_what_it_requires_is_good(provider: str) -> None:
    assert load(ASP_CREDENTIALS_PROVIDER=provider, **COMPLETE[provider]).settings.credentials_provider == provider


@pytest.mark.parametrize(
    ("provider", "missing", "instead"),
    [
        ("oidc", "ASP_OPEN_ID_AUTH_SERVER_URL", {"ASP_OPEN_ID_ISSUER_URL": "https://issuer"}),
        ("oidc", "ASP_OPEN_ID_CLIENT_SECRET", {"ASP_OPEN_ID_CLIENT_SECRET_FILE": "/no/such"}),
        ("oidc", "ASP_OPEN_ID_CLIENT_SECRET", {"ASP_OPEN_ID_CLIENT_KEY_FILE": "/no/such"}),
        ("vault", "ASP_VAULT_AUTH_TOKEN", {"ASP_VAULT_AUTH_TOKEN_FILE": "/no/such"}),
        ("vault", "ASP_VAULT_AUTH_TOKEN", {"ASP_VAULT_ROLE_ID": "id"}),
        ("vault", "ASP_VAULT_AUTH_TOKEN", {"ASP_VAULT_AUTH_ROLE": "role"}),
    ],
)
def test_another_setting_can_take_the_place_of_a_required_one(
    provider: str, missing: str, instead: dict[str, str]
) -> None:
    environ = {name: text for name, text in COMPLETE[provider].items() if name != missing}
    load(ASP_CREDENTIALS_PROVIDER=provider, **environ, **instead)
    assert missing in problems_of(ASP_CREDENTIALS_PROVIDER=provider, **environ)


@pytest.mark.parametrize(
    ("given", "method"),
    [
        ({}, "token"),
        ({"vault_auth_token": "t", "vault_role_id": "r"}, "token"),
        ({"vault_auth_token_file": "f"}, "token_file"),
        ({"vault_role_id": "r"}, "approle"),
        ({"vault_auth_role": "r"}, "kubernetes"),
        ({"vault_auth_role": "r", "vault_jwt_file": "f"}, "jwt"),
    ],
)
def test_the_login_method_is_told_by_what_is_set(given: dict[str, str], method: str) -> None:
    assert vault_auth_method(given) == method


@pytest.mark.parametrize(
    ("method", "missing"),
    [
        ("token_file", {"ASP_VAULT_AUTH_TOKEN_FILE"}),
        ("approle", {"ASP_VAULT_ROLE_ID"}),
        ("kubernetes", {"ASP_VAULT_AUTH_ROLE"}),
        ("jwt", {"ASP_VAULT_AUTH_ROLE", "ASP_VAULT_JWT_FILE"}),
    ],
)
def test_a_chosen_login_method_misses_what_it_needs(method: str, missing: set[str]) -> None:
    problems = problems_of(ASP_CREDENTIALS_PROVIDER="vault", ASP_VAULT_AUTH_METHOD=method, **COMPLETE["vault"])
    assert problems.keys() == missing
    assert all(sentence.endswith(f"ASP_VAULT_AUTH_METHOD is {method}") for sentence in problems.values())


def test_options_of_roles_need_roles_and_are_one_or_as_many() -> None:
    assert problems_of(ASP_ASSUME_ROLE_OPTIONS="{}") == {
        "ASP_ASSUME_ROLE_OPTIONS": 'is "{}". Expected: nothing, because ASP_ASSUME_ROLE_ARNS is not set'
    }
    arns = "arn:aws:iam::1:role/a arn:aws:iam::1:role/b"
    load(ASP_ASSUME_ROLE_ARNS=arns, ASP_ASSUME_ROLE_OPTIONS="{}")
    load(ASP_ASSUME_ROLE_ARNS=arns, ASP_ASSUME_ROLE_OPTIONS="[{}, {}]")
    assert problems_of(ASP_ASSUME_ROLE_ARNS=arns, ASP_ASSUME_ROLE_OPTIONS="[{}, {}, {}]")[
        "ASP_ASSUME_ROLE_OPTIONS"
    ].endswith("Expected: one object for all roles, or 2: one for each of ASP_ASSUME_ROLE_ARNS")


@pytest.mark.parametrize(
    ("environ", "provider"),
    [
        ({}, None),
        ({"ASP_CREDENTIALS_PROVIDER": "awstoken"}, CredentialsProvider.AWSTOKEN),
        ({"ASP_CREDENTIALS_PROVIDER": "default"}, CredentialsProvider.DEFAULT),
    ],
)
def test_awstoken_default_and_nothing_require_no_other_setting(
    environ: dict[str, str], provider: CredentialsProvider | None
) -> None:
    assert load(**environ).settings.credentials_provider is provider


def test_irsa_takes_the_role_that_eks_sets() -> None:
    environ = COMPLETE["irsa"] | {"ASP_ROLE_ARN": "", "AWS_ROLE_ARN": "arn:aws:iam::1:role/eks"}
    assert load(ASP_CREDENTIALS_PROVIDER="irsa", **environ).settings.role_arn == "arn:aws:iam::1:role/eks"


def test_oidc_does_not_take_the_role_that_eks_sets() -> None:
    environ = COMPLETE["oidc"] | {"ASP_ROLE_ARN": "", "AWS_ROLE_ARN": "arn:aws:iam::1:role/eks"}
    problems = problems_of(ASP_CREDENTIALS_PROVIDER="oidc", **environ)
    assert problems.keys() == {"ASP_ROLE_ARN"}
    assert problems["ASP_ROLE_ARN"].startswith("is not set.")
    assert problems["ASP_ROLE_ARN"].endswith("AWS_ROLE_ARN, which is set, counts with irsa only")


def test_a_wrong_role_that_eks_set_is_reported_as_wrong_and_not_as_missing() -> None:
    environ = COMPLETE["oidc"] | {"ASP_ROLE_ARN": "", "AWS_ROLE_ARN": "role"}
    problems = problems_of(ASP_CREDENTIALS_PROVIDER="oidc", **environ)
    assert problems.keys() == {"AWS_ROLE_ARN"}
    assert problems["AWS_ROLE_ARN"].startswith('is "role". Expected: the ARN')


def test_the_token_file_must_be_readable_where_irsa_is_chosen(tmp_path: Path) -> None:
    environ = COMPLETE["irsa"] | {"AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path)}
    problems = problems_of(ASP_CREDENTIALS_PROVIDER="irsa", **environ)
    assert (
        problems["AWS_WEB_IDENTITY_TOKEN_FILE"]
        == f'is "{tmp_path}". Expected: a readable file, not one which is not a file'
    )


def test_the_token_file_that_eks_sets_is_not_examined_for_other_providers() -> None:
    for provider in ("", "awstoken", "default"):
        loaded = load(AWS_WEB_IDENTITY_TOKEN_FILE="/no/such", ASP_CREDENTIALS_PROVIDER=provider)
        assert loaded.settings.web_identity_token_file == Path("/no/such")


@pytest.mark.parametrize("wrong", ["localhost:4566", "ftp://sts", "https://", "https://sts:0", "//sts", "http://s t"])
@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"])
@pytest.mark.parametrize(
    "environ",
    [{"ASP_CREDENTIALS_PROVIDER": "irsa", **COMPLETE["irsa"]}, {"ASP_CREDENTIALS_PROVIDER": "oidc", **COMPLETE["oidc"]},
     {"ASP_ASSUME_ROLE_ARNS": "arn:aws:iam::123456789012:role/x"}],
)  # fmt: skip
def test_the_endpoint_of_sts_must_be_a_url_where_nothing_can_be_had_without_it(
    environ: dict[str, str], name: str, wrong: str
) -> None:
    problems = problems_of(**environ, **{name: wrong})
    assert problems == {name: f'is "{wrong}". Expected: the URL of STS with its scheme, https://...'}


def test_a_wrong_endpoint_of_sts_is_told_beside_the_other_problems_and_without_its_password() -> None:
    problems = problems_of(
        ASP_CREDENTIALS_PROVIDER="irsa", AWS_ENDPOINT_URL_STS="ftp://u:planted@sts", AWS_ENDPOINT_URL="also wrong"
    )
    assert problems.keys() == {*COMPLETE["irsa"], "AWS_ENDPOINT_URL_STS"}
    assert "planted" not in str(problems)


@pytest.mark.parametrize(
    "environ",
    [
        {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:4566", "AWS_ENDPOINT_URL": "not looked at"},
        {"AWS_ENDPOINT_URL_STS": " https://user:pass@sts.example/path?query "},
        {"AWS_ENDPOINT_URL_STS": "localhost", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "True"},
        {"AWS_ENDPOINT_URL_STS": "  "},
        {"AWS_ENDPOINT_URL_STS": "localhost", "ASP_CREDENTIALS_PROVIDER": "awstoken"},
    ],
)
def test_an_endpoint_of_sts_that_is_good_or_not_used_is_no_problem(environ: dict[str, str]) -> None:
    load(**{"ASP_CREDENTIALS_PROVIDER": "irsa", **COMPLETE["irsa"], **environ})


def test_a_wrong_provider_is_one_problem_and_requires_nothing() -> None:
    assert problems_of(ASP_CREDENTIALS_PROVIDER="vautl").keys() == {"ASP_CREDENTIALS_PROVIDER"}


def test_a_wrong_value_of_a_required_setting_is_one_problem() -> None:
    environ = COMPLETE["vault"] | {"ASP_VAULT_URL": "vault"}
    assert problems_of(ASP_CREDENTIALS_PROVIDER="vault", **environ).keys() == {
        "ASP_VAULT_URL",
    }


@pytest.mark.parametrize(
    ("environ", "blamed"),
    [
        ({"ASP_PORT": "8081"}, "ASP_PORT"),
        ({"ASP_MGMT_PORT": "8080"}, "ASP_MGMT_PORT"),
        ({"ASP_PORT": "9000", "ASP_MGMT_PORT": "9000"}, "ASP_MGMT_PORT"),
        ({"ASP_PORT": "8081", "ASP_BIND_ADDRESS": "0.0.0.0"}, "ASP_PORT"),
        ({"ASP_PORT": "8081", "ASP_MGMT_BIND_ADDRESS": "::"}, "ASP_PORT"),
    ],
)
def test_the_two_ports_must_differ(environ: dict[str, str], blamed: str) -> None:
    problems = problems_of(**environ)
    assert problems.keys() == {blamed}
    assert "another port than" in problems[blamed]


@pytest.mark.parametrize(
    "environ",
    [
        {"ASP_PORT": "0", "ASP_MGMT_PORT": "0"},
        {"ASP_PORT": "8081", "ASP_BIND_ADDRESS": "127.0.0.2"},
        {"ASP_PORT": "8081", "ASP_UNIX_SOCKET": "/tmp/asp-test-socket"},
    ],
)
def test_the_two_ports_may_be_one_where_they_cannot_meet(environ: dict[str, str]) -> None:
    assert load(**environ).settings.port in {0, 8081}


def test_a_wrong_port_is_not_compared() -> None:
    assert problems_of(ASP_PORT="x", ASP_MGMT_PORT="8080").keys() == {"ASP_PORT"}


def test_the_memory_of_all_bodies_holds_at_least_one() -> None:
    assert problems_of(ASP_BODY_MEMORY_LIMIT="2MiB", ASP_BODY_MEMORY_TOTAL="1MiB") == {
        "ASP_BODY_MEMORY_TOTAL": 'is "1MiB". Expected: at least as much as ASP_BODY_MEMORY_LIMIT, which is 2MiB'
    }
    assert load(ASP_BODY_MEMORY_LIMIT="64MiB").settings.body_memory_limit_bytes == 64 * 2**20
    assert problems_of(ASP_BODY_MEMORY_LIMIT="lots", ASP_BODY_MEMORY_TOTAL="0").keys() == {"ASP_BODY_MEMORY_LIMIT"}


def test_no_more_connections_can_be_kept_warm_than_there_may_be() -> None:
    assert problems_of(ASP_WARM_CONNECTIONS="3", ASP_MAX_UPSTREAM_CONNECTIONS="2") == {
        "ASP_WARM_CONNECTIONS": 'is "3". Expected: at most as many as ASP_MAX_UPSTREAM_CONNECTIONS, which is 2'
    }
    assert load(ASP_WARM_CONNECTIONS="2", ASP_MAX_UPSTREAM_CONNECTIONS="2").settings.warm_connections == 2
    assert problems_of(ASP_WARM_CONNECTIONS="3", ASP_MAX_UPSTREAM_CONNECTIONS="x").keys() == {
        "ASP_MAX_UPSTREAM_CONNECTIONS"
    }
