"""Mints and checks tokens with PyJWT, as Airflow's JWTGenerator and JWTValidator and as Langflow do.

One JSON object on the standard input, one line on the standard output.
"""

import base64
import json
import sys
import time
import uuid
from datetime import datetime, timedelta, timezone
from hashlib import sha256

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key


def key(job, private):
    if job["algorithm"].startswith("HS"):
        return job["key"]
    loaded = load_pem_private_key(job["key"].encode(), password=None)
    return loaded if private else loaded.public_key()


def airflow_mint(job):
    now = int(time.time()) - job["age"]
    claims = {
        "sub": "task-1",
        "scope": "execution",
        "jti": uuid.uuid4().hex,
        "aud": job["audience"],
        "nbf": now,
        "exp": now + job["lifetime"],
        "iat": now,
    }
    if job["issuer"]:
        claims["iss"] = job["issuer"]
    headers = {"alg": job["algorithm"]}
    if job["kid"]:
        headers["kid"] = job["kid"]
    return jwt.encode(claims, key(job, True), algorithm=job["algorithm"], headers=headers)


def airflow_check(job):
    claims = jwt.decode(
        job["token"],
        key(job, False),
        audience=job["audiences"],
        issuer=job["issuer"],
        options={"require": ["aud", "exp", "iat"] + (["iss"] if job["issuer"] else [])},
        algorithms=[job["algorithm"]],
        leeway=10,
    )
    return json.dumps({"claims": claims, "kid": jwt.get_unverified_header(job["token"])["kid"]})


def langflow_mint(job):
    expires = datetime.now(timezone.utc) + timedelta(seconds=job["left"])
    claims = {"sub": "3fa85f64-5717-4562-b3fc-2c963f66afa6", "type": job["type"], "exp": expires}
    return jwt.encode(claims, key(job, True), algorithm=job["algorithm"])


def langflow_check(job):
    claims = jwt.decode(job["token"], key(job, False), algorithms=[job["algorithm"]])
    assert claims["type"] == "access" and claims["sub"], claims
    return json.dumps({"claims": claims})


def airflow_jwk(job):
    """`key_to_jwk_dict`: without `alg`. The `kid` is of every member, `key_ops` included, against RFC 7638."""
    jwk = jwt.get_algorithm_by_name(job["algorithm"]).to_jwk(key(job, False), as_dict=True)
    digest = sha256(json.dumps(jwk, separators=(",", ":"), sort_keys=True).encode()).digest()
    jwk["kid"] = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    return json.dumps(jwk)


job = json.load(sys.stdin)
print(globals()[job["do"]](job))
