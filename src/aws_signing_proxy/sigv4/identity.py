"""The key pair that a request is signed with."""

from __future__ import annotations

__all__ = ["Identity"]


class Identity:
    """An AWS access key, with the session token that belongs to it where it is temporary.

    Its `repr` names the last four characters of the access key id and nothing else.
    """

    __slots__ = ("access_key_id", "secret_access_key", "session_token")

    def __init__(self, access_key_id: str, secret_access_key: str, session_token: str | None = None) -> None:
        self.access_key_id = access_key_id
        self.secret_access_key = secret_access_key
        self.session_token = session_token

    def __repr__(self) -> str:
        return f"<{type(self).__name__} …{self.access_key_id[-4:]}>"
