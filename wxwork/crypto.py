"""Sign, open and seal what passes between WeCom and us on the callback URL. Pure.

    key        base64 of EncodingAESKey + "=" (its last character carries spare bits: no strict decoder, no round trip)
    signature  sha1 of the sorted, joined [token, timestamp, nonce, encrypted], small hex
    encrypted  base64 of AES-256-CBC, IV = the key's first 16 bytes, of
               random(16) + length of the message in bytes (4, big-endian) + message (UTF-8) + receiveid, PKCS#7 to 32

Source: developer.work.weixin.qq.com/document/path/90968. Sixteen is AES's block, 32 is WeCom's padding: a padding of
17..32 is as right as one of 1..16.

    >>> pair = Pair.of("QDG6eK", "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C")
    >>> echostr = "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ=="
    >>> open_sealed([pair], "5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3", "1409659589", "263014780", echostr,
    ...             receiveid="wx5823bf96d3bd56c7")
    b'1616140317555161061'
    >>> open_sealed([pair], "5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd4", "1409659589", "263014780", echostr,
    ...             receiveid="wx5823bf96d3bd56c7")
    Traceback (most recent call last):
        ...
    wxwork.crypto.CryptoError: signature

What was wrong is for counters only: whoever asks gets the same answer for all of it.
"""

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

KEY_BYTES = 32
BLOCK_BYTES = 16
PAD_BYTES = 32
RANDOM_BYTES = 16
HEAD_BYTES = RANDOM_BYTES + 4


class CryptoError(ValueError):
    """Something sealed that is not to be trusted. kind: one of KINDS, for counters and never for an answer."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


# In the order in which they are looked for.
KINDS = ("signature", "ciphertext", "padding", "length", "encoding", "receiveid")


@dataclass(frozen=True)
class Pair:
    """A token and a key that belong together; two are in use while one takes the other's place."""

    token: str = field(repr=False)
    key: bytes = field(repr=False)

    @classmethod
    def of(cls, token: str, encoding_aes_key: str) -> "Pair":
        """Return the pair that WeCom's admin shows. Raises ValueError for what is no EncodingAESKey."""
        try:
            key = base64.b64decode(encoding_aes_key + "=")
        except ValueError:  # also binascii.Error
            key = b""
        if len(encoding_aes_key) != 43 or len(key) != KEY_BYTES:
            raise ValueError("An EncodingAESKey has 43 letters and digits.")
        return cls(token, key)


def sign(token: str, timestamp: str, nonce: str, encrypted: str) -> str:
    """Return WeCom's signature of something encrypted."""
    joined = "".join(sorted([token, timestamp, nonce, encrypted]))
    return hashlib.sha1(joined.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def open_sealed(
    pairs: Iterable[Pair], signature: str, timestamp: str, nonce: str, encrypted: str, *, receiveid: str
) -> bytes:
    """Check and decrypt what came from WeCom: an echostr or the Encrypt of a push. Returns UTF-8.

    pairs: all that are in use; whichever signed it opens it. receiveid: the corp id for a self-built app.
    Raises CryptoError.
    """
    given = signature.encode("utf-8", "surrogatepass")
    # All of them are compared, so that the time taken says nothing of which.
    signed_by = [
        pair for pair in pairs if hmac.compare_digest(sign(pair.token, timestamp, nonce, encrypted).encode(), given)
    ]
    trouble = CryptoError("signature")
    for pair in signed_by:
        try:
            return decrypt(pair.key, encrypted, receiveid=receiveid)
        except CryptoError as error:
            trouble = error  # a new key may go with the old token
    raise trouble


def decrypt(key: bytes, encrypted: str, *, receiveid: str) -> bytes:
    """Return the message in what WeCom encrypted. Raises CryptoError. The signature is to be checked before."""
    try:
        ciphertext = base64.b64decode(encrypted.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise CryptoError("ciphertext") from None
    if not ciphertext or len(ciphertext) % BLOCK_BYTES:
        raise CryptoError("ciphertext")
    decryptor = _cipher(key).decryptor()
    padded = decryptor.update(ciphertext) + decryptor.finalize()
    pad = padded[-1]
    if not 1 <= pad <= PAD_BYTES or padded[-pad:] != bytes([pad]) * pad:
        raise CryptoError("padding")
    content = padded[:-pad]
    end = HEAD_BYTES + int.from_bytes(content[RANDOM_BYTES:HEAD_BYTES], "big")
    if len(content) < HEAD_BYTES or end > len(content):
        raise CryptoError("length")
    message = content[HEAD_BYTES:end]
    try:
        message.decode()
    except UnicodeDecodeError:
        raise CryptoError("encoding") from None
    if not hmac.compare_digest(content[end:], receiveid.encode()):
        raise CryptoError("receiveid")
    return message


def encrypt(key: bytes, message: bytes, *, receiveid: str, random: bytes | None = None) -> str:
    """Return a message as WeCom expects it in a reply. random: 16 bytes, for tests."""
    content = (random or os.urandom(RANDOM_BYTES)) + len(message).to_bytes(4, "big") + message + receiveid.encode()
    pad = PAD_BYTES - len(content) % PAD_BYTES
    encryptor = _cipher(key).encryptor()
    return base64.b64encode(encryptor.update(content + bytes([pad]) * pad) + encryptor.finalize()).decode()


def sealed_reply(pair: Pair, message: bytes, *, receiveid: str, timestamp: str, nonce: str) -> str:
    """Return the XML of a passive reply: the inner XML encrypted and signed. Customer callbacks want none, just 200."""
    encrypted = encrypt(pair.key, message, receiveid=receiveid)
    return (
        f"<xml><Encrypt><![CDATA[{encrypted}]]></Encrypt>"
        f"<MsgSignature><![CDATA[{sign(pair.token, timestamp, nonce, encrypted)}]]></MsgSignature>"
        f"<TimeStamp>{timestamp}</TimeStamp><Nonce><![CDATA[{nonce}]]></Nonce></xml>"
    )


def _cipher(key: bytes) -> Cipher[modes.CBC]:
    return Cipher(algorithms.AES(key), modes.CBC(key[:BLOCK_BYTES]))
