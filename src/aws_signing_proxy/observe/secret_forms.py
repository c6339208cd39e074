r"""The ways in which a secret may be written in a text that quotes it.

Servers echo what they were sent, each in its own way: percent escapes in either case, JSON with `\/` and `\u003d`,
HTML's entities, one within the other. So a secret is not looked for in a list of spellings: each of its characters may
stand there in any of them. Letters and digits are written as they are everywhere; the longest run of them is looked
for first, and where it is not there nothing else is done. The pattern, which takes milliseconds to compile (22 for a
session token), is made when that run is met.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from functools import lru_cache
from html.entities import html5
from typing import Final

__all__ = ["SecretForm", "forms_of"]

# A shorter one may be a part of something that has nothing to do with it: only where it is whole.
_LONG: Final = 8
# A still shorter one, or one of letters alone, may be a word ("s3", "test"): only where it is a value, behind "=", ":"
# or a quotation mark.
_SHORT: Final = 4
# As much of a secret is one, even where the rest is written in a way that is not known here, or was cut off.
_TELLING_RUN: Final = 12

_RUN: Final = re.compile(r"[A-Za-z0-9]+")
_PIECES: Final = re.compile(r"[A-Za-z0-9]+|\\+|[^A-Za-z0-9\\]", re.DOTALL)
_HASH: Final = r"(?:\#|%(?:25)*23)"
_SEMICOLON: Final = r"(?:;|%(?:25)*3[Bb])"
_BACKSLASH: Final = r"(?:\\|%(?:25)*5[Cc]|&(?:amp;)*(?:\#0*92|\#[xX]0*5[Cc]|bsol);)"
# The backslash before its u0026 is taken by then.
_AMPERSAND: Final = rf"(?:&|%(?:25)*26|[uU]0026)(?:amp{_SEMICOLON})*"
# Possessive: nothing else can take them.
_BACKSLASHES: Final = f"{_BACKSLASH}++"
_ANY_BACKSLASHES: Final = f"{_BACKSLASH}*+"
_NO_BACKSLASH_BEFORE: Final = r"(?<!\\)(?<!%5[Cc])(?<!%255[Cc])"
_CONTROLS: Final = {"\b": "b", "\t": "t", "\n": "n", "\f": "f", "\r": "r"}
# What may be before a word: nothing of a word, or an escape that ends in a letter or a digit.
_WORD_BEGINS: Final = (
    r"(?:(?<![A-Za-z0-9])|(?<=%[0-9A-Fa-f]{2})|(?<=%25[0-9A-Fa-f]{2})|(?<=\\u00[0-9A-Fa-f]{2})|(?<=\\[bfnrt]))"
)
_VALUE_BEGINS: Final = (
    r"""(?:(?<=[=:"'`>])|(?<=%3[DdAa])|(?<=%2[27])|(?<=%253[DdAa])|(?<=%252[27])|(?<=u003[DdAa])|(?<=u002[27])|"""
    r"(?<=quot;)|(?<=apos;)|(?<=#3[49];)|(?<=#x2[27];))"
)
_WORD_ENDS: Final = r"(?![A-Za-z0-9])"
_MAX_BYTE: Final = 0xFF


class SecretForm:
    """A secret as it is, or what base64 makes of it, for finding either in every way in which a text may write it."""

    __slots__ = ("_begins", "_ends", "_pattern", "_text", "is_base64", "run")

    def __init__(self, text: str, *, is_base64: bool = False) -> None:
        self._text = text
        self.is_base64 = is_base64
        self.run = max(_RUN.findall(text), key=len, default="")
        """What every text that quotes it has in it; empty where nothing is sure."""
        self._begins = self._ends = ""
        if not is_base64 and len(text) < _LONG:
            is_word = len(text) < _SHORT or text.isalpha()
            self._begins, self._ends = (_VALUE_BEGINS if is_word else _WORD_BEGINS), _WORD_ENDS
        self._pattern: re.Pattern[str] | None = None

    def __repr__(self) -> str:
        """Show nothing of it."""
        return f"<SecretForm of {len(self._text)} characters>"

    def __len__(self) -> int:
        return len(self._text)

    def masked(self, text: str, mask: str) -> str:
        """Return `text` with `mask` for the whole secret, wherever it stands."""
        if not self._begins:
            # Nearly always it is quoted as it is, and needs no pattern.
            text = text.replace(self._text, mask)
        if not all(run in text for run in _RUN.findall(self._text)):
            return text
        if self._pattern is None:
            pieces = [_piece(piece, is_base64=self.is_base64) for piece in _PIECES.findall(self._text)]
            # A text of nothing but backslashes must not take quadratic time: each of them begins a match at most once.
            if pieces[0].endswith(_BACKSLASHES):
                pieces[0] = _NO_BACKSLASH_BEFORE + pieces[0]
            else:
                pieces[0] = pieces[0].replace(_ANY_BACKSLASHES, "", 1).replace(_BACKSLASHES, _BACKSLASH, 1)
            self._pattern = re.compile(f"{self._begins}{''.join(pieces)}{self._ends}")
        return self._pattern.sub(mask, text)

    def masked_remains(self, text: str, mask: str) -> str:
        """Return `text` with `mask` for its longest run, where that is long enough to be told from a word."""
        return text.replace(self.run, mask) if len(self.run) >= _TELLING_RUN else text


def forms_of(secret: str) -> tuple[SecretForm, ...]:
    """Return what to look for; nothing for an empty secret."""
    if not secret:
        return ()
    forms = [SecretForm(secret)]
    if len(secret) >= _SHORT:
        forms += (SecretForm(core, is_base64=True) for core in _in_base64(secret.encode("utf-8", "surrogatepass")))
    return tuple(forms)


def _in_base64(secret: bytes) -> Iterator[str]:
    """Yield what base64 makes of the secret within something longer ("user:secret"), wherever it begins there.

    Without the character at either end that depends on what surrounds it.
    """
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + secret).decode()
        yield encoded[-(-before * 8 // 6) : (before + len(secret)) * 8 // 6]


def _piece(piece: str, *, is_base64: bool) -> str:
    """Return the pattern of a run of letters and digits, of a run of backslashes, or of one other character."""
    if piece.startswith("\\"):
        return _BACKSLASH * (len(piece) - 1) + _BACKSLASHES
    if _RUN.match(piece):
        return piece
    if is_base64 and piece in "+/":
        return f"(?:{'-' if piece == '+' else '_'}|{_character(piece)})"
    return _character(piece)


@lru_cache(maxsize=256)
def _character(character: str) -> str:
    """Return the pattern of a character, as it is and escaped, also more than once; hexadecimal digits in any case."""
    code = ord(character)
    encoded = character.encode("utf-8", "surrogatepass")
    units = character.encode("utf-16-be", "surrogatepass").hex()
    escapes = [_BACKSLASHES.join(f"[uU]{_hex(units[at : at + 4])}" for at in range(0, len(units), 4))]
    escapes += [f"U{_hex(f'{code:08x}')}", _BACKSLASHES.join(f"x{_hex(f'{byte:02x}')}" for byte in encoded)]
    if code <= _MAX_BYTE:
        escapes.append(f"x{_hex(f'{code:02x}')}")
    if character in _CONTROLS:
        escapes.append(_CONTROLS[character])
    names = [name.rstrip(";") for name, meaning in html5.items() if meaning == character and name.endswith(";")]
    entities = "|".join([f"{_HASH}0*{code}", f"{_HASH}[xX]0*{_hex(f'{code:x}')}", *names])
    written = [
        "".join(f"%(?:25)*{_hex(f'{byte:02x}')}" for byte in encoded),
        f"{_AMPERSAND}(?:{entities}){_SEMICOLON}",
        _AMPERSAND if character == "&" else re.escape(character),
    ]
    if character == " ":
        written.append(r"\+")
    return f"(?:{_BACKSLASHES}(?:{'|'.join(escapes)})|{_ANY_BACKSLASHES}(?:{'|'.join(written)}))"


def _hex(digits: str) -> str:
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in digits)
