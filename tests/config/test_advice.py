"""What is suspicious without being wrong is said, and holds no value."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from aws_signing_proxy.config.loading import load_settings


def warnings_of(flags: dict[str, str] | None = None, /, **environ: str) -> list[str]:
    return load_settings(flags or {}, {"ASP_TARGET_URL": "https://host"} | environ).warnings


def test_sound_settings_bring_no_warning() -> None:
    assert warnings_of({"port": "1"}, ASP_LOG_LEVEL="debug", AWS_PROFILE="x", PATH="/bin", OTHER_ASP_X="y") == []


def test_an_unknown_variable_is_named_with_the_setting_that_it_may_mean() -> None:
    assert warnings_of(ASP_MGMT_PROT="1", ASP_ZZZ="s3cr3t") == [
        "ASP_MGMT_PROT is not a setting of this version; it is ignored. Did you mean ASP_MGMT_PORT?",
        "ASP_ZZZ is not a setting of this version; it is ignored.",
    ]


def test_the_name_of_an_unknown_variable_cannot_act_on_a_terminal() -> None:
    (warning,) = warnings_of(**{"ASP_\x1b[2J": "1"})
    assert warning.isprintable()


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy"])
def test_a_proxy_for_everything_is_said_not_to_be_honoured_for_the_target(name: str) -> None:
    assert warnings_of(**{name: "http://user:s3cr3t@proxy"}) == [
        f"{name}: honoured where credentials are fetched, not for the target; set HTTPS_PROXY for it."
    ]
    assert warnings_of(**{name: ""}) == []
    assert warnings_of(**{name: "http://proxy", "HTTPS_PROXY": "http://proxy"}) == []


@pytest.mark.parametrize("name", ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy"])
def test_the_proxies_that_are_honoured_bring_no_warning(name: str) -> None:
    assert warnings_of(**{name: "proxy.test"}) == []


def test_a_target_whose_certificate_is_not_verified_is_warned_of() -> None:
    (warning,) = warnings_of(ASP_INSECURE_SKIP_VERIFY="true")
    assert "not verified" in warning
    assert "ASP_CA_BUNDLE" in warning


def test_settings_of_tls_that_a_plain_target_has_no_use_for_are_named() -> None:
    warnings = warnings_of(ASP_TARGET_URL="http://host", ASP_INSECURE_SKIP_VERIFY="true")
    assert "ASP_INSECURE_SKIP_VERIFY: not used, because ASP_TARGET_URL is plain http." in warnings


def test_tls_for_clients_is_said_not_to_be_spoken_on_a_unix_socket(tmp_path: Path) -> None:
    trustme.CA().issue_cert("a.test").private_key_and_cert_chain_pem.write_to_path(tmp_path / "pair.pem")
    (warning,) = warnings_of(ASP_TLS_CERT=str(tmp_path / "pair.pem"), ASP_UNIX_SOCKET=str(tmp_path / "s"))
    assert warning.startswith("ASP_TLS_CERT: not used, because ASP_UNIX_SOCKET is set")


def test_a_secret_in_a_flag_is_advised_against() -> None:
    (warning, _) = warnings_of({"vault_auth_token": "s3cr3t"})
    assert warning == (
        "--vault-auth-token holds a secret: other users of this machine can read it in the list of processes. "
        "Set ASP_VAULT_AUTH_TOKEN instead."
    )
    assert not any("list of processes" in warning for warning in warnings_of(ASP_VAULT_AUTH_TOKEN="s3cr3t"))


def test_settings_of_a_provider_that_is_not_chosen_are_named() -> None:
    assert warnings_of(ASP_VAULT_URL="https://vault", ASP_VAULT_CREDENTIALS_PATH="a/b") == [
        "ASP_VAULT_URL, ASP_VAULT_CREDENTIALS_PATH: not used, because ASP_CREDENTIALS_PROVIDER is default, not vault."
    ]
    assert warnings_of(ASP_OPEN_ID_CLIENT_ID="x", ASP_CREDENTIALS_PROVIDER="awstoken") == [
        "ASP_OPEN_ID_CLIENT_ID: not used, because ASP_CREDENTIALS_PROVIDER is awstoken, not oidc."
    ]


def test_what_eks_sets_in_every_pod_brings_no_warning() -> None:
    assert warnings_of(AWS_ROLE_ARN="arn:aws:iam::1:role/x", AWS_WEB_IDENTITY_TOKEN_FILE="/no/such") == []
