"""How each service wants its requests signed: a table, and one look-up."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ServiceRules", "rules_for"]


@dataclass(frozen=True, slots=True)
class ServiceRules:
    """The rules of one service where services differ.

    `encode_path_twice`: the canonical path is the percent-encoded path, percent-encoded once more.
    `normalize_path`: the canonical path has its dot segments resolved and its repeated slashes merged.

    Source: AWS IAM User Guide, "Create a signed AWS API request", step 1 ("Canonical URI": all services but
    Amazon S3 normalise the path and encode each segment twice).
    """

    encode_path_twice: bool
    normalize_path: bool


_DEFAULT = ServiceRules(encode_path_twice=True, normalize_path=True)
_S3_FAMILY = ServiceRules(encode_path_twice=False, normalize_path=False)

# By signing name, the word that stands in the credential scope.
_RULES: dict[str, ServiceRules] = {
    "s3": _S3_FAMILY,
    "s3-object-lambda": _S3_FAMILY,
    "s3-outposts": _S3_FAMILY,
    "s3express": _S3_FAMILY,
}


def rules_for(service: str) -> ServiceRules:
    """Return the rules of `service` (its signing name, e.g. `es`); what the table does not name follows the default."""
    return _RULES.get(service, _DEFAULT)
