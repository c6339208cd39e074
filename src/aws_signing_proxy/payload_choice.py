"""From the settings to the rules by which bodies are signed; what the service cannot take is a wrong setting."""

from __future__ import annotations

from aws_signing_proxy.config.problems import Problem, SettingsError
from aws_signing_proxy.config.settings import Settings
from aws_signing_proxy.sigv4.payloads import PayloadRules, PayloadSetting, setting_problem

__all__ = ["payload_rules"]


def payload_rules(settings: Settings) -> PayloadRules:
    """Return the rules for the target. Raises SettingsError where ASP_PAYLOAD cannot work with it."""
    setting = PayloadSetting(settings.payload.value)
    is_tls = settings.target_url.scheme == "https"
    expected = setting_problem(setting, settings.service, is_tls=is_tls)
    if expected is not None:
        raise SettingsError([Problem("ASP_PAYLOAD", setting.value, expected)])
    return PayloadRules(
        service=settings.service,
        is_tls=is_tls,
        setting=setting,
        memory_limit_bytes=settings.body_memory_limit_bytes,
    )
