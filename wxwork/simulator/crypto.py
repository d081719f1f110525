"""Signing and encrypting as WeCom does (contract §2), written a second time on purpose: it checks what receives it.

plaintext   random(16) + byte length of the message (4, big-endian) + message + receiveid, PKCS#7 to 32
cipher      AES-256-CBC, key = base64(EncodingAESKey + "="), IV = first 16 bytes of the key
signature   sha1 of token, timestamp, nonce and ciphertext, sorted and joined
"""

import base64
import hashlib
import os

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BLOCK = 32


def encrypt(message: bytes, aes_key: str, receiveid: str, *, random: bytes = b"") -> str:
    """Return the base64 of the ciphertext. random: 16 bytes, for vectors."""
    key = base64.b64decode(aes_key + "=")
    plain = (random or os.urandom(16)) + len(message).to_bytes(4, "big") + message + receiveid.encode()
    pad = BLOCK - len(plain) % BLOCK
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(encryptor.update(plain + bytes([pad]) * pad) + encryptor.finalize()).decode()


def sign(token: str, timestamp: str, nonce: str, encrypted: str) -> str:
    joined = "".join(sorted([token, timestamp, nonce, encrypted]))
    return hashlib.sha1(joined.encode(), usedforsecurity=False).hexdigest()
