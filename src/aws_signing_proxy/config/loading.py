"""From flags and environment to settings: flag before environment before default, the source remembered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from aws_signing_proxy.config.advice import advice_on, unknown_variables
from aws_signing_proxy.config.notation import UnexpectedValueError
from aws_signing_proxy.config.problems import Problem, SettingsError
from aws_signing_proxy.config.rules import broken_rules
from aws_signing_proxy.config.settings import Settings, declarations, shown_value
from aws_signing_proxy.config.sources import SourceKind, find_candidate
from aws_signing_proxy.config.sts_endpoint import broken_sts_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from aws_signing_proxy.config.sources import Candidate, Source

    Rule = Callable[[Mapping[str, Candidate], AbstractSet[str]], Iterator[tuple[str, Problem]]]

__all__ = ["Loaded", "load_settings"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """Valid settings, where each value came from, and what is suspicious without being wrong."""

    settings: Settings
    sources: Mapping[str, Source]
    warnings: list[str]

    def source_of(self, name: str) -> Source:
        """Return the source of a setting by its attribute's name; `str()` of it reads `environment ASP_PORT`.

        Raises KeyError where there is no such setting.
        """
        return self.sources[name]

    def given(self) -> Iterator[tuple[str, str, Source]]:
        """Yield the settings that are not left at their default: attribute, value as it may be shown, source."""
        for declared in declarations():
            source = self.sources[declared.name]
            if source.kind is not SourceKind.DEFAULT:
                yield declared.name, shown_value(declared, getattr(self.settings, declared.name)), source


def load_settings(flags: Mapping[str, str], environ: Mapping[str, str], *, more_rules: Sequence[Rule] = ()) -> Loaded:
    """Read and validate every setting.

    `flags` maps the attribute names of `Settings` to the texts of the flags that were given; `more_rules` are those
    that need to know more than settings, like `broken_rules`. Raises `SettingsError` with every problem there is.
    Reads files only to see that they can be read; starts and listens on nothing.
    """
    candidates: dict[str, Candidate] = {}
    problems: dict[str, Problem] = {}
    for declaration in declarations():
        candidate = find_candidate(declaration, flags, environ)
        try:
            if candidate.text is not None:
                candidate = replace(candidate, value=declaration.kind.parse(candidate.text))
        except UnexpectedValueError as error:
            # The error itself goes no further: its traceback would show the text, which may be secret.
            problems[declaration.name] = candidate.problem(error.expected or declaration.expected)
        candidates[declaration.name] = candidate
    # Rules look at valid values only: a wrong value has its problem already.
    wrong = frozenset(problems)
    for name, problem in chain(
        broken_rules(candidates, wrong=wrong), *(rule(candidates, wrong) for rule in more_rules)
    ):
        problems.setdefault(name, problem)
    found = [problems[name] for name in candidates if name in problems]
    found += broken_sts_endpoint(candidates, environ)
    if found:
        raise SettingsError(found, hints=list(unknown_variables(environ)))
    return Loaded(
        settings=Settings(**{name: candidate.value for name, candidate in candidates.items()}),
        sources={name: candidate.source for name, candidate in candidates.items()},
        warnings=advice_on(candidates, environ),
    )
