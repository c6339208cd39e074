"""From the settings to the rules by which bodies are signed; what the service cannot take is a wrong setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from aws_signing_proxy.config.problems import Problem
from aws_signing_proxy.config.settings import Settings
from aws_signing_proxy.config.sources import Candidate
from aws_signing_proxy.config.values import TargetUrl
from aws_signing_proxy.sigv4.payloads import PayloadRules, PayloadSetting, setting_problem

__all__ = ["broken_payload_rule", "payload_rules"]


def broken_payload_rule(candidates: Mapping[str, Candidate], wrong: AbstractSet[str]) -> Iterator[tuple[str, Problem]]:
    """Yield ASP_PAYLOAD and its problem where it cannot work with the target (see `config.loading`)."""
    target: TargetUrl | None = candidates["target_url"].value
    if target is None or wrong & {"payload", "service"}:
        return
    payload = candidates["payload"]
    expected = setting_problem(PayloadSetting(payload.value.value), candidates["service"].value, is_tls=target.is_tls)
    if expected is not None:
        yield payload.declaration.name, payload.problem(expected)


def payload_rules(settings: Settings) -> PayloadRules:
    """Return the rules for the target."""
    return PayloadRules(
        service=settings.service,
        is_tls=settings.target_url.is_tls,
        setting=PayloadSetting(settings.payload.value),
        memory_limit_bytes=settings.body_memory_limit_bytes,
    )
