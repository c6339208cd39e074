"""Where STS is and how it is reached, as the AWS SDKs read it from the environment.

AWS SDKs and Tools Reference Guide: "Service-specific endpoints" (AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL,
AWS_IGNORE_CONFIGURED_ENDPOINT_URLS), "Dual-stack and FIPS endpoints" (AWS_USE_DUALSTACK_ENDPOINT,
AWS_USE_FIPS_ENDPOINT), "General configuration" (AWS_CA_BUNDLE).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["StsSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StsSettings:
    """What decides which STS is asked, and how. The `repr` leaves out what may hold a password."""

    region: str
    endpoint_url: str | None = field(repr=False)
    """Instead of the region's own; None where the region decides."""
    ca_bundle: Path | None
    """AWS_CA_BUNDLE: a PEM file of trusted certificates instead of SSL_CERT_FILE's or the system's."""
    use_fips: bool
    use_dualstack: bool
    environ: Mapping[str, str] = field(repr=False)
    """For the variables of HTTP proxies and of OpenSSL."""

    @classmethod
    def read(cls, region: str, environ: Mapping[str, str]) -> StsSettings:
        """Take all of it from `environ` alone; files and the process's own environment have no say."""

        def value(*names: str) -> str | None:
            return next((text for name in names if (text := environ.get(name, "").strip())), None)

        def is_true(name: str) -> bool:
            return (value(name) or "").lower() == "true"

        url = value("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL")
        bundle = value("AWS_CA_BUNDLE")
        return cls(
            region=region,
            endpoint_url=None if is_true("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") else url,
            ca_bundle=None if bundle is None else Path(bundle),
            use_fips=is_true("AWS_USE_FIPS_ENDPOINT"),
            use_dualstack=is_true("AWS_USE_DUALSTACK_ENDPOINT"),
            environ=environ,
        )
