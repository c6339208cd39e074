"""HMAC-SHA256 with a kept key, held against the standard library's."""

from __future__ import annotations

import hmac
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws_signing_proxy.sigv4.keyed_hmac import KeyedHmac


@given(st.binary(max_size=64), st.lists(st.binary(max_size=300), min_size=1, max_size=3))
def test_a_code_is_the_standard_librarys_whatever_was_asked_before(key: bytes, messages: list[bytes]) -> None:
    keyed = KeyedHmac(key)
    for message in messages:
        assert keyed.digest(message) == hmac.digest(key, message, "sha256")


def test_a_key_that_is_longer_than_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than a block"):
        KeyedHmac(b"k" * 65)


def test_a_key_is_neither_shown_nor_pickled() -> None:
    keyed = KeyedHmac(b"hush")
    assert "hush" not in repr(keyed)
    with pytest.raises(TypeError):
        pickle.dumps(keyed)
