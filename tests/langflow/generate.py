"""Generates keys in a directory as Langflow does at its first start.

    python3 tests/langflow/generate.py RS256 /var/lib/langflow

Run by the test `it_and_pyjwt_admit_each_others_tokens`.
"""

import secrets
import sys
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


def write(path, text, mode):
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


algorithm, place = sys.argv[1], Path(sys.argv[2])
if algorithm == "HS256":
    write(place / "secret_key", secrets.token_urlsafe(32), 0o600)
else:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    write(place / "private_key.pem", private.decode(), 0o600)
    write(place / "public_key.pem", public.decode(), 0o644)
