"""ASP_PAYLOAD against the target: what cannot work is a wrong setting, for the proxy and for `check`."""

from __future__ import annotations

import pytest

from aws_signing_proxy.check.report import run_check
from aws_signing_proxy.config.loading import Loaded, load_settings
from aws_signing_proxy.config.problems import SettingsError
from aws_signing_proxy.config.values import PayloadMode
from aws_signing_proxy.payload_choice import payload_rules
from aws_signing_proxy.sigv4.payloads import PayloadSetting


def load(**environ: str) -> Loaded:
    return load_settings({}, {"ASP_TARGET_URL": "https://host", **environ})


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
def test_what_the_service_cannot_take_is_said_before_anything_is_started(
    mode: str, service: str, url: str, sentence: str
) -> None:
    loaded = load(ASP_PAYLOAD=mode, ASP_SERVICE=service, ASP_TARGET_URL=url)
    for judge in (lambda: payload_rules(loaded.settings), lambda: run_check(loaded, {}, print)):
        with pytest.raises(SettingsError, match=f"ASP_PAYLOAD +is {mode}. Expected: auto.*{sentence}"):
            judge()
