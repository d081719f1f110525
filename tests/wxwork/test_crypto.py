"""wxwork.crypto against published vectors, an implementation that is not ours, and everything that must be refused."""

import base64
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st
from wechatpy.enterprise.crypto import WeChatCrypto

from wxwork.crypto import CryptoError, Pair, decrypt, encrypt, open_sealed, sealed_reply, sign
from wxwork.messages import parse_fields

FIXTURES = Path(__file__).parent / "fixtures" / "crypto"


def vectors(name: str) -> list[Any]:
    return [pytest.param(one, id=one["id"]) for one in json.loads((FIXTURES / f"{name}.json").read_text())]


GOLDEN = vectors("golden_vectors") + vectors("published_vectors")
NEGATIVE = vectors("negative_vectors")
TOKEN, AES_KEY, CORP = "scrmSimToken2026", "kQ3vXz8NfT1mWb5RyU7hJc2LgP9sAdE4iOoKxV6uYBw", "ww7f3a9c21d04be586"
PAIR = Pair.of(TOKEN, AES_KEY)
STAMP, NONCE = "1790035200", "nonce0001"


def opened(encrypted: str, *, pairs: list[Pair] | None = None, signature: str | None = None) -> bytes:
    signature = sign(TOKEN, STAMP, NONCE, encrypted) if signature is None else signature
    return open_sealed(pairs or [PAIR], signature, STAMP, NONCE, encrypted, receiveid=CORP)


def sealed(content: bytes) -> str:
    """Encrypt a content as it is, padding and all: what only a broken sender sends."""
    encryptor = Cipher(algorithms.AES(PAIR.key), modes.CBC(PAIR.key[:16])).encryptor()
    return base64.b64encode(encryptor.update(content) + encryptor.finalize()).decode()


def padded(content: bytes) -> bytes:
    pad = 32 - len(content) % 32
    return content + bytes([pad]) * pad


@pytest.mark.parametrize("vector", GOLDEN)
def test_vectors_open_and_seal_to_the_same_bytes(vector: dict[str, Any]) -> None:
    pair = Pair.of(vector["token"], vector["encoding_aes_key"])
    plain = vector["plaintext"].encode()
    assert decrypt(pair.key, vector["encrypt"], receiveid=vector["receiveid"]) == plain
    random = bytes.fromhex(vector["random16_hex"])
    assert encrypt(pair.key, plain, receiveid=vector["receiveid"], random=random) == vector["encrypt"]
    if vector["msg_signature"]:
        arguments = vector["timestamp"], vector["nonce"], vector["encrypt"]
        assert sign(vector["token"], *arguments) == vector["msg_signature"]
        assert open_sealed([pair], vector["msg_signature"], *arguments, receiveid=vector["receiveid"]) == plain


@pytest.mark.parametrize("vector", NEGATIVE)
def test_broken_vectors_are_refused_for_the_right_reason(vector: dict[str, Any]) -> None:
    with pytest.raises(CryptoError) as refused:
        open_sealed(
            [Pair.of(vector["token"], vector["encoding_aes_key"])],
            *(vector[name] for name in ("msg_signature", "timestamp", "nonce", "encrypt")),
            receiveid=vector["receiveid"],
        )
    assert f"{refused.value.kind}_error" == vector["expect"]


HEAD = bytes(16)
RIGHT = HEAD + (2).to_bytes(4, "big") + b"ok" + CORP.encode()


@pytest.mark.parametrize(
    ("encrypted", "kind"),
    [
        ("", "ciphertext"),
        ("QUJD", "ciphertext"),
        ("吗", "ciphertext"),
        ("\ud800", "ciphertext"),
        ("QUJD\nQUJD", "ciphertext"),
        (sealed(RIGHT + b"\x00" * (32 - len(RIGHT) % 32)), "padding"),
        (sealed(padded(RIGHT)[:-2] + b"\x01" + padded(RIGHT)[-1:]), "padding"),
        (sealed(RIGHT + b"!" * (32 - len(RIGHT) % 32)), "padding"),
        (sealed(b"\x20" * 16), "padding"),
        (sealed(padded(b"short")), "length"),
        (sealed(padded(HEAD + b"\x00\x00\x00")), "length"),
        (sealed(padded(HEAD + (200).to_bytes(4, "big") + b"ok" + CORP.encode())), "length"),
        (sealed(padded(HEAD + b"\xff\xff\xff\xff" + b"ok" + CORP.encode())), "length"),
        (sealed(padded(HEAD + (2).to_bytes(4, "big") + b"\xff\xfe" + CORP.encode())), "encoding"),
        (sealed(padded(HEAD + (2).to_bytes(4, "big") + b"ok")), "receiveid"),
        (sealed(padded(RIGHT + b"x")), "receiveid"),
        (sealed(padded(HEAD + (3).to_bytes(4, "big") + b"ok" + CORP.encode())), "receiveid"),
    ],
)
def test_everything_broken_inside_a_right_signature_is_refused(encrypted: str, kind: str) -> None:
    with pytest.raises(CryptoError) as refused:
        opened(encrypted)
    assert refused.value.kind == kind


def test_a_message_without_content_is_one() -> None:
    assert opened(encrypt(PAIR.key, b"", receiveid=CORP)) == b""


@pytest.mark.parametrize("signature", ["", "0" * 40, "é" * 40, "\ud800", sign(TOKEN, STAMP, NONCE, "x").upper()])
def test_signatures_are_compared_whatever_they_are(signature: str) -> None:
    with pytest.raises(CryptoError, match="signature"):
        opened("x", signature=signature)


def test_nobody_is_trusted_without_a_pair() -> None:
    with pytest.raises(CryptoError, match="signature"):
        open_sealed([], sign("", STAMP, NONCE, "x"), STAMP, NONCE, "x", receiveid=CORP)


def test_old_and_new_pairs_are_good_during_a_rotation() -> None:
    new = Pair.of("newToken", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG")
    same_token = Pair.of(TOKEN, "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG")
    by_old = encrypt(PAIR.key, b"old", receiveid=CORP)
    assert opened(by_old, pairs=[new, PAIR]) == b"old"
    assert opened(by_old, pairs=[same_token, PAIR]) == b"old"
    by_new = encrypt(new.key, b"new", receiveid=CORP)
    assert opened(by_new, pairs=[PAIR, new], signature=sign("newToken", STAMP, NONCE, by_new)) == b"new"
    with pytest.raises(CryptoError, match="signature"):
        opened(by_old, pairs=[new])
    with pytest.raises(CryptoError, match=r"padding|length|encoding|receiveid"):
        opened(by_new, pairs=[PAIR, new])  # the new key under the old token is no pair of ours


@pytest.mark.parametrize("key", ["", "short", "kQ3vXz8NfT1mWb5RyU7hJc2LgP9sAdE4iOoKxV6uYBw=", "é" * 43, "-" * 43])
def test_what_is_no_key_is_no_pair(key: str) -> None:
    with pytest.raises(ValueError, match="43"):
        Pair.of("t", key)


def test_secrets_are_not_shown() -> None:
    assert TOKEN not in repr(PAIR)
    assert repr(PAIR.key) not in repr(PAIR)


@given(st.binary(min_size=32, max_size=32), st.text(max_size=400), st.text(max_size=40))
def test_what_is_sealed_opens_again(key: bytes, text: str, receiveid: str) -> None:
    message = text.encode("utf-8", "ignore")
    receiveid = receiveid.encode("utf-8", "ignore").decode()
    assert decrypt(key, encrypt(key, message, receiveid=receiveid), receiveid=receiveid) == message


@given(st.binary(max_size=200))
def test_no_ciphertext_does_anything_but_open_or_be_refused(content: bytes) -> None:
    with suppress(CryptoError):
        opened(base64.b64encode(content).decode())
    with suppress(CryptoError):
        opened(sealed(content + bytes(-len(content) % 16)) if content else "")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300))
def test_wechatpy_opens_what_we_seal_and_we_what_it_seals(text: str) -> None:
    theirs = WeChatCrypto(TOKEN, AES_KEY, CORP)
    ours = parse_fields(sealed_reply(PAIR, text.encode(), receiveid=CORP, timestamp=STAMP, nonce=NONCE).encode())
    body = {"Encrypt": ours["Encrypt"]}
    found = theirs.decrypt_message(body, ours["MsgSignature"], ours["TimeStamp"], ours["Nonce"])
    assert found == text

    reply = parse_fields(theirs.encrypt_message(text, NONCE, STAMP).encode())
    assert (reply["TimeStamp"], reply["Nonce"]) == (STAMP, NONCE)
    assert opened(str(reply["Encrypt"]), signature=str(reply["MsgSignature"])) == text.encode()


def test_wechatpy_verifies_the_url_with_us() -> None:
    echostr = encrypt(PAIR.key, b"4528173960415283746", receiveid=CORP)
    signature = sign(TOKEN, STAMP, NONCE, echostr)
    assert WeChatCrypto(TOKEN, AES_KEY, CORP).check_signature(signature, STAMP, NONCE, echostr) == "4528173960415283746"
