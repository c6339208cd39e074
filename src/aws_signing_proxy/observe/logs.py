"""Log lines: one JSON object each, or text for people; ours and those of every library, written alike.

structlog gives events with fields, the standard library's logging is the way that they take: uvicorn's and asyncio's
own lines go through the same formatter. Everything is rendered inside one handler, which neither raises nor lets a
known secret pass (see `redaction`). Below the level `info` only this package's own lines are written: some libraries'
debug lines quote requests with their tokens.
"""

from __future__ import annotations

import functools
import json
import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO, TypeAlias, cast

import structlog

from aws_signing_proxy.observe.lines import Lines
from aws_signing_proxy.observe.redaction import Redactor

__all__ = [
    "SECRETS_OF_LOG",
    "configure_logs",
    "forget_secret",
    "get_logger",
    "mask_known_secrets",
    "register_secret",
    "replace_secrets",
]

_OURS: Final = "aws_signing_proxy"
_EventDict: TypeAlias = MutableMapping[str, Any]

# Logging is one for the whole process, and so is what it must not show.
_REDACTOR: Final = Redactor()
register_secret = _REDACTOR.register
forget_secret = _REDACTOR.forget
replace_secrets = _REDACTOR.replace
mask_known_secrets = _REDACTOR.mask_known
SECRETS_OF_LOG: Final = _REDACTOR
"""The same as an object, for whoever registers, forgets and masks."""

# A line break or an escape sequence in a value must not look like a line of ours, nor steer a terminal.
_ESCAPED: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
# These are laid out in lines by us.
_MULTILINE: Final = frozenset({"exception", "stack"})
_KEPT_IN_LINES: Final = {code: text for code, text in _ESCAPED.items() if chr(code) not in "\n\t"}


def configure_logs(
    *, level: str = "info", log_format: str = "json", stream: TextIO | None = None, worker: int | None = None
) -> None:
    """Write all logging of the process to `stream` (standard error where None). May be called again.

    `level` is a name of the standard library's levels in any case; `log_format` is "json" or "console". Console lines
    are coloured on a terminal only. `worker` stands in each line, where this process is one of several.

    Raises:
        ValueError: There is no such level or format.
    """
    threshold = logging.getLevelNamesMapping().get(level.upper())
    if threshold is None or log_format not in {"json", "console"}:
        raise ValueError(f"no such log level or format: {level!r}, {log_format!r}")
    lines = Lines(sys.stderr if stream is None else stream)
    remove_log_handlers()
    handler = _Handler(lines, _formatter(log_format, worker, is_coloured=lines.is_terminal))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(max(threshold, logging.INFO))
    logging.getLogger(_OURS).setLevel(threshold)
    logging.captureWarnings(capture=True)


def remove_log_handlers() -> None:
    """Undo `configure_logs`, as far as others can tell: our handler leaves the root logger."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _Handler):
            root.removeHandler(handler)
    logging.captureWarnings(capture=False)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module; `name` is its `__name__`, or a name within this package."""
    if name != _OURS and not name.startswith(f"{_OURS}."):
        name = f"{_OURS}.{name}"
    # Bound to its own processors, not to structlog's global configuration. Those that could fail run in the handler.
    logger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return cast("structlog.stdlib.BoundLogger", logger)


class _Handler(logging.Handler):
    """Writes every record as one rendered text, and never raises."""

    def __init__(self, lines: Lines, formatter: logging.Formatter) -> None:
        super().__init__()
        self._lines = lines
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception as error:  # noqa: BLE001 - whatever was logged, the caller goes on
            text = _last_resort(record, error)
        self._lines.write(text)


def _last_resort(record: logging.LogRecord, error: Exception) -> str:
    """Render a record that could not be rendered (its arguments do not fit its message, say), without its arguments."""
    message = record.msg if isinstance(record.msg, str) else f"<{type(record.msg).__name__}>"
    return json.dumps(
        {
            "timestamp": _timestamp(record.created),
            "level": record.levelname.lower(),
            "event": _REDACTOR.mask(message),
            "logger": record.name,
            "not_rendered": type(error).__name__,
        }
    )


def _formatter(log_format: str, worker: int | None, *, is_coloured: bool) -> logging.Formatter:
    render: structlog.typing.Processor
    if log_format == "json":
        last: list[structlog.typing.Processor] = [_redact, _render_json]
    else:
        render = structlog.dev.ConsoleRenderer(
            colors=is_coloured,
            sort_keys=False,
            # The exception is text by then. Without this, an installed `rich` would print the frames' variables.
            exception_formatter=structlog.dev.plain_traceback,
        )
        last = [_redact, _escape_control_characters, render]
    return structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.format_exc_info,
            functools.partial(_add_facts_of_record, {} if worker is None else {"worker": worker}),
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *last,
        ],
    )


def _timestamp(seconds: float) -> str:
    """RFC 3339 in UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _add_facts_of_record(facts: dict[str, Any], _logger: Any, _name: str, event_dict: _EventDict) -> _EventDict:
    """Put the time, the level, the event and the logger's name first, in this order."""
    record: logging.LogRecord = event_dict["_record"]
    first = {
        "timestamp": _timestamp(record.created),
        "level": record.levelname.lower(),
        "event": event_dict.pop("event", ""),
        "logger": record.name,
        **facts,
    }
    return first | {name: value for name, value in event_dict.items() if name not in first}


def _redact(_logger: Any, _name: str, event_dict: _EventDict) -> _EventDict:
    return {_REDACTOR.mask(name): _REDACTOR.clean_field(name, value) for name, value in event_dict.items()}


def _escape_control_characters(_logger: Any, _name: str, event_dict: _EventDict) -> _EventDict:
    for name, value in event_dict.items():
        if isinstance(value, str):
            event_dict[name] = value.translate(_KEPT_IN_LINES if name in _MULTILINE else _ESCAPED)
    return event_dict


def _render_json(_logger: Any, _name: str, event_dict: _EventDict) -> str:
    # ASCII only: no stream's encoding can refuse it, and no reader takes U+2028 for the end of a line.
    return json.dumps(event_dict)
