"""ASP_PAYLOAD against the target: what cannot work is a wrong setting, reported together with the others."""

from __future__ import annotations

import pytest

from aws_signing_proxy.config.loading import Loaded, load_settings
from aws_signing_proxy.config.problems import SettingsError
from aws_signing_proxy.config.values import PayloadMode
from aws_signing_proxy.payload_choice import broken_payload_rule, payload_rules
from aws_signing_proxy.sigv4.payloads import PayloadSetting


def load(flags: dict[str, str] | None = None, /, **environ: str) -> Loaded:
    return load_settings(flags or {}, {"ASP_TARGET_URL": "https://host", **environ}, more_rules=(broken_payload_rule,))


def problems(flags: dict[str, str] | None = None, /, **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(flags, **environ)
    return [f"{problem.environment_name} {problem.sentence}" for problem in caught.value.problems]


def test_the_words_of_the_setting_are_those_of_the_table() -> None:
    assert [each.value for each in PayloadMode] == [each.value for each in PayloadSetting]


def test_the_rules_know_the_service_the_transport_and_the_limit() -> None:
    rules = payload_rules(load(ASP_SERVICE="vpc-lattice-svcs", ASP_BODY_MEMORY_LIMIT="7").settings)
    assert (rules.is_always_unsigned, rules.memory_limit_bytes) == (True, 7)


@pytest.mark.parametrize(
    ("mode", "service", "url", "sentence"),
    [
        ("unsigned", "s3", "http://host", "needs TLS to the target"),
        ("unsigned", "es", "https://host", "not known to take unsigned payloads"),
        ("chunked", "es", "https://host", "takes no signed chunks"),
        ("signed", "vpc-lattice-svcs", "https://host", "takes unsigned payloads only"),
    ],
)
def test_what_the_service_cannot_take_is_a_wrong_setting(mode: str, service: str, url: str, sentence: str) -> None:
    (problem,) = problems(ASP_PAYLOAD=mode, ASP_SERVICE=service, ASP_TARGET_URL=url)
    assert problem.startswith(f'ASP_PAYLOAD is "{mode}". Expected: auto')
    assert sentence in problem


def test_it_is_reported_with_every_other_one_and_with_the_flag_that_gave_it() -> None:
    found = problems({"payload": "chunked"}, ASP_PORT="abc", ASP_BODY_MEMORY_TOTAL="1KiB")
    assert [each.partition(" ")[0] for each in found] == ["ASP_PAYLOAD", "ASP_PORT", "ASP_BODY_MEMORY_TOTAL"]
    assert found[0].startswith('ASP_PAYLOAD is "chunked" (flag --payload). Expected: ')


@pytest.mark.parametrize(
    "wrong", [{"ASP_TARGET_URL": ""}, {"ASP_TARGET_URL": "ftp://host"}, {"ASP_SERVICE": "a b"}, {"ASP_PAYLOAD": "x"}]
)
def test_it_is_not_judged_where_what_it_depends_on_is_wrong_itself(wrong: dict[str, str]) -> None:
    (problem,) = problems(**({"ASP_PAYLOAD": "chunked"} | wrong))
    assert problem.startswith(next(iter(wrong)))
