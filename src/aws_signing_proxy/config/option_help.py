"""The part of --help that lists the settings, made from their declaration."""

from __future__ import annotations

import textwrap

from aws_signing_proxy.config.declaration import Declaration, Section
from aws_signing_proxy.config.settings import declarations

__all__ = ["default_of", "settings_help"]

_INDENT = 2
_TEXT_INDENT = 8


def default_of(declaration: Declaration) -> str:
    """Say what holds where the setting is not given."""
    if declaration.is_required:
        return "required"
    if declaration.default_text is not None:
        return f"default: {declaration.default_text}"
    return f"default: {declaration.unset_meaning}" if declaration.unset_meaning else "no default"


def settings_help(width: int) -> str:
    """Return every setting with its flags, meaning, environment names and default, in at most `width` columns."""
    lines: list[str] = []
    for section in Section:
        lines += [f"{section}:", ""]
        for declaration in declarations():
            if declaration.section is section:
                lines += [*_entry(declaration, width), ""]
    return "\n".join(lines)


def _entry(declaration: Declaration, width: int) -> list[str]:
    if declaration.flags:
        heading = f"{', '.join(declaration.flags)} {declaration.kind.placeholder}"
    else:
        heading = f"{', '.join(declaration.environment)} (environment only)"
    origin = f"[{', '.join(declaration.environment)}; {default_of(declaration)}]"
    indent = " " * _TEXT_INDENT
    body = textwrap.wrap(
        declaration.summary,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    # The origin stays in one piece: it is what people search for.
    if len(body[-1]) + 1 + len(origin) <= width:
        body[-1] += f" {origin}"
    else:
        body.append(f"{indent}{origin}")
    return [f"{' ' * _INDENT}{heading}", *body]
