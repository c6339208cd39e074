"""From flags and environment to settings: what wins, what is remembered, and that all problems come at once."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
import trustme

from aws_signing_proxy.config.declaration import Declaration
from aws_signing_proxy.config.loading import Loaded, load_settings
from aws_signing_proxy.config.problems import SettingsError
from aws_signing_proxy.config.settings import declarations
from aws_signing_proxy.config.sources import Candidate, Source, SourceKind

ENVIRON = {"ASP_TARGET_URL": "https://host"}

SECRET = "hvs.s3cr3t"


def load(flags: dict[str, str] | None = None, /, **environ: str) -> Loaded:
    return load_settings(flags or {}, ENVIRON | environ)


def problems_of(flags: dict[str, str] | None = None, /, **environ: str) -> dict[str, str]:
    """Load settings that must be wrong, and return what is said of each by its environment name."""
    with pytest.raises(SettingsError) as caught:
        load(flags, **environ)
    return {problem.environment_name: problem.sentence for problem in caught.value.problems}


# Two good texts for each placeholder, or for a setting by its name.
GOOD_TEXTS = {
    "URL": ("https://one", "https://two"),
    "NAME": ("aa", "bb"),
    "ADDRESS": ("127.0.0.2", "127.0.0.3"),
    "PORT": ("9001", "9002"),
    "ARN": ("arn:aws:iam::1:role/one", "arn:aws:iam::1:role/two"),
    "TEXT": ("one", "two"),
    "TOKEN": ("one", "two"),
    "SECRET": ("one", "two"),
    "BOOLEAN": ("true", "false"),
    "COUNT": ("7", "8"),
    "DURATION": ("7s", "8s"),
    "SIZE": ("2MiB", "3MiB"),
    "LEVEL": ("debug", "error"),
    "FORMAT": ("console", "json"),
    "JSON": ('{"duration": "1h"}', '{"duration": "2h"}'),
    "ARNS": ("arn:aws:iam::1:role/one", "arn:aws:iam::1:role/two"),
    "role_session_duration_seconds": ("1h", "2h"),
    "open_id_client_auth": ("client_secret_basic", "client_secret_post"),
    "open_id_dialect": ("json", "oauth2"),
    "open_id_token_kind": ("id_token", "access_token"),
    "vault_auth_method": ("token", "token_file"),
    "credentials_provider": ("awstoken", "default"),
    "payload": ("signed", "chunked"),
    "metrics_path": ("/one", "/two"),
    "vault_path": ("one", "two"),
    "body_memory_total_bytes": ("100MiB", "200MiB"),
    "HOST": ("one.test", "two.test:8443"),
    "HOSTS": ("one.test", "two.test,10.0.0.0/8"),
    "HOST:PORT": ("one.test:1", "[::1]:2"),
}

# Settings whose files must be what they are called, and the files of each.
KEY_PAIRS = {
    "tls_cert": "pair",
    "client_cert": "pair",
    "tls_key": "key",
    "client_key": "key",
    "tls_client_ca": "certificate",
}


def beside(declared: Declaration, folder: Path) -> dict[str, str]:
    """Return what else a setting needs to be right."""
    match declared.name:
        case "assume_role_options":
            return {"ASP_ASSUME_ROLE_ARNS": "arn:aws:iam::1:role/one"}
        case "tls_key" | "tls_client_ca":
            return {"ASP_TLS_CERT": str(folder / "one-pair")}
        case "client_key":
            return {"ASP_CLIENT_CERT": str(folder / "one-pair")}
        case _:
            return {}


def write_key_pair(folder: Path) -> None:
    certificate = trustme.CA().issue_cert("one.test")
    for name in ("one", "two"):
        certificate.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}-pair")
        certificate.private_key_pem.write_to_path(folder / f"{name}-key")
        certificate.cert_chain_pems[0].write_to_path(folder / f"{name}-certificate")


def good_texts(declared: Declaration, folder: Path) -> tuple[str, str]:
    if declared.name in GOOD_TEXTS:
        return GOOD_TEXTS[declared.name]
    if declared.kind.placeholder != "PATH":
        return GOOD_TEXTS[declared.kind.placeholder]
    if declared.name in {"spool_dir", "unix_socket"}:
        (folder / "one").mkdir()
        (folder / "two").mkdir()
        child = "s" if declared.name == "unix_socket" else ""
        return str(folder / "one" / child), str(folder / "two" / child)
    if declared.name in KEY_PAIRS:
        write_key_pair(folder)
        return str(folder / f"one-{KEY_PAIRS[declared.name]}"), str(folder / f"two-{KEY_PAIRS[declared.name]}")
    for name in ("one", "two"):
        (folder / name).write_text("-----BEGIN CERTIFICATE-----")
    return str(folder / "one"), str(folder / "two")


@pytest.mark.parametrize("declared", declarations(), ids=lambda declared: declared.name)
def test_a_flag_counts_before_the_environment_and_that_before_the_default(
    declared: Declaration, tmp_path: Path
) -> None:
    one, two = good_texts(declared, tmp_path)
    first_name = declared.environment[0]
    others = beside(declared, tmp_path)
    if not declared.is_required:
        default = load()
        assert default.source_of(declared.name) == Source(SourceKind.DEFAULT)

    from_environment = load(**{first_name: one}, **others)
    assert getattr(from_environment.settings, declared.name) == declared.kind.parse(one)
    assert str(from_environment.source_of(declared.name)) == f"environment {first_name}"

    if declared.flags:
        from_flag = load({declared.name: two}, **{first_name: one}, **others)
        assert getattr(from_flag.settings, declared.name) == declared.kind.parse(two)
        assert str(from_flag.source_of(declared.name)) == f"flag {declared.flags[0]}"


@pytest.mark.parametrize(
    "declared",
    [declared for declared in declarations() if len(declared.environment) > 1],
    ids=lambda declared: declared.name,
)
def test_of_several_environment_names_the_first_counts_and_each_works(declared: Declaration, tmp_path: Path) -> None:
    one, two = good_texts(declared, tmp_path)
    for name in declared.environment:
        assert getattr(load(**{name: one}).settings, declared.name) == declared.kind.parse(one)
        assert load(**{name: one}).source_of(declared.name) == Source(SourceKind.ENVIRONMENT, name)
    for stronger, weaker in zip(declared.environment, declared.environment[1:], strict=False):
        loaded = load(**{stronger: one, weaker: two})
        assert getattr(loaded.settings, declared.name) == declared.kind.parse(one)


def test_a_wrong_value_under_a_weaker_name_is_not_looked_at(tmp_path: Path) -> None:
    good, _ = good_texts(next(declared for declared in declarations() if declared.name == "ca_bundle"), tmp_path)
    assert load(ASP_CA_BUNDLE=good, SSL_CERT_FILE="/no/such").settings.ca_bundle == Path(good)


def test_an_empty_variable_and_an_empty_flag_count_as_not_set() -> None:
    assert load(ASP_PORT="").settings.port == 8080
    assert load({"port": ""}, ASP_PORT="9000").settings.port == 9000
    assert load(ASP_VAULT_PATH="", ASP_VAULT_CREDENTIALS_PATH="a").settings.vault_path == "a"
    assert problems_of(ASP_TARGET_URL="").keys() == {"ASP_TARGET_URL"}


def test_the_source_of_an_unknown_setting_is_an_error() -> None:
    with pytest.raises(KeyError):
        load().source_of("prot")


def test_all_problems_are_reported_at_once_in_the_order_of_the_documentation() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(
            {"port": "80a"},
            {
                "ASP_DIAL_TIMEOUT": "5",
                "ASP_BODY_MEMORY_LIMIT": "128MiB",
                "ASP_CREDENTIALS_PROVIDER": "vault",
                "ASP_VAULT_AUTH_TOKEN": SECRET,
                "SSL_CERT_FILE": "/no/such",
            },
        )
    assert str(caught.value) == (
        "aws-signing-proxy: 7 settings are wrong or missing; nothing was started.\n"
        "  ASP_TARGET_URL         is not set. Expected: the URL to forward to, e.g. "
        "https://foo.eu-central-1.es.amazonaws.com\n"
        '  ASP_PORT               is "80a" (flag --port). Expected: a port number from 0 to 65535\n'
        "  ASP_VAULT_URL          is not set. Expected: with the provider vault, the base URL of Vault, "
        "http or https, e.g. https://vault.example.com:8200\n"
        "  ASP_VAULT_PATH         is not set. Expected: with the provider vault, the path of the credentials "
        "in Vault, e.g. /some-aws-engine/creds/some-aws-role\n"
        '  ASP_BODY_MEMORY_TOTAL  is "64MiB" by default. Expected: at least as much as ASP_BODY_MEMORY_LIMIT, '
        "which is 128MiB\n"
        '  ASP_DIAL_TIMEOUT       is "5". Expected: a duration with its unit, such as 5s or 5ms\n'
        '  SSL_CERT_FILE          is "/no/such". Expected: a readable file of certificates, '
        "not one which does not exist\n"
        "See: aws-signing-proxy --help"
    )


def test_one_problem_is_reported_in_the_singular() -> None:
    with pytest.raises(
        SettingsError, match=r"^aws-signing-proxy: 1 setting is wrong or missing; nothing was started\."
    ):
        load(ASP_PORT="x")


def test_a_misspelt_variable_explains_a_missing_setting() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({}, {"ASP_TARGET_ULR": "https://host"})
    assert (
        "\nNote: ASP_TARGET_ULR is not a setting of this version; it is ignored. Did you mean ASP_TARGET_URL?\nSee: "
        in str(caught.value)
    )


@pytest.mark.parametrize("name", [declared.name for declared in declarations() if declared.is_secret])
def test_a_wrong_secret_is_never_shown(name: str) -> None:
    declared = next(declared for declared in declarations() if declared.name == name)
    for flags, environ in (({name: f"{SECRET}\n"}, {}), ({}, {declared.environment[0]: f"{SECRET}\n"})):
        with pytest.raises(SettingsError) as caught:
            load(flags, **environ)
        shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(caught.value.problems)
        assert "s3cr3t" not in shown
        assert "is a secret that is not shown here" in str(caught.value)
        assert caught.value.problems[0].environment_name == declared.environment[0]


def test_what_was_loaded_shows_no_secret() -> None:
    loaded = load({"vault_auth_token": SECRET}, ASP_OPEN_ID_CLIENT_SECRET=SECRET)
    assert loaded.settings.vault_auth_token == loaded.settings.open_id_client_secret == SECRET
    assert "s3cr3t" not in repr(loaded)
    declared = next(declared for declared in declarations() if declared.is_secret)
    assert "s3cr3t" not in repr(Candidate(declared, Source(SourceKind.FLAG, "--vault-token"), SECRET, SECRET))


def test_a_password_in_a_wrong_url_is_never_shown() -> None:
    problems = problems_of(
        ASP_TARGET_URL=f"https://user:{SECRET}@host",
        ASP_VAULT_URL=f"https://vault?token={SECRET}",
        ASP_OPEN_ID_AUTH_SERVER_URL=f"https://{SECRET}@auth",
    )
    assert problems.keys() == {"ASP_TARGET_URL", "ASP_VAULT_URL", "ASP_OPEN_ID_AUTH_SERVER_URL"}
    assert "s3cr3t" not in str(problems)
