"""Plays Airflow's task client against the example `airflow`: tokens by PyJWT, minted and checked as Airflow does.

    AIRFLOW_KEY=... python3 tests/airflow/client.py 127.0.0.1:9091 HS512

The key is the secret, or the text of the private key for RS256 and EdDSA. Run by the test
`the_tokens_of_pyjwt_are_kept_alive`, which starts the server with the settings below.
"""

import base64
import hashlib
import http.client
import json
import os
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

try:
    import jwt
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
except ImportError:
    sys.exit("PyJWT is missing: `python3 -m pip install 'PyJWT[crypto]==2.*'` installs it")

ADDRESS, ALGORITHM = sys.argv[1:]
AUDIENCES = ["urn:airflow.apache.org:task", "urn:example:tasks"]
ISSUER = "https://airflow.example"
LIFETIME, LEEWAY = 600, 10
TASK = str(uuid.uuid4())
PROCESS = '{"hostname": "worker-1", "pid": 4711}'

if ALGORITHM == "HS512":
    SIGNS = CHECKS = os.environ["AIRFLOW_KEY"]
    KID = "not-used"
else:
    SIGNS = load_pem_private_key(os.environ["AIRFLOW_KEY"].encode(), password=None)
    CHECKS = SIGNS.public_key()
    jwk = jwt.get_algorithm_by_name(ALGORITHM).to_jwk(CHECKS, as_dict=True)
    # Every member, `key_ops` included, against RFC 7638.
    digest = hashlib.sha256(json.dumps(jwk, separators=(",", ":"), sort_keys=True).encode()).digest()
    KID = base64.urlsafe_b64encode(digest).decode().rstrip("=")


def encode(claims, key=SIGNS):
    return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": KID})


def mint(left, **changes):
    """A token that expires in `left` seconds, or expired so long ago; a claim that is None is left out."""
    exp = int(time.time()) + left
    claims = {
        "jti": uuid.uuid4().hex,
        "iss": ISSUER,
        "aud": AUDIENCES[0],
        "nbf": exp - LIFETIME,
        "exp": exp,
        "iat": exp - LIFETIME,
        "sub": TASK,
        "scope": "execution",
    }
    claims.update(changes)
    return encode({name: value for name, value in claims.items() if value is not None})


def read(token):
    """What `JWTValidator` of the execution API does."""
    return jwt.decode(
        token,
        CHECKS,
        algorithms=[ALGORITHM],
        audience=AUDIENCES,
        issuer=ISSUER,
        options={"require": ["aud", "exp", "iat", "iss"]},
        leeway=LEEWAY,
    )


def unverified(token):
    return jwt.decode(token, options={"verify_signature": False})


def send(method, path, authorization, body):
    """Status, body and successors of one call, as the task client makes it."""
    connection = http.client.HTTPConnection(ADDRESS, timeout=10)
    headers = {"Content-Type": "application/json"}
    if authorization is not None:
        headers["Authorization"] = authorization
    connection.request(method, f"/execution/task-instances/{TASK}/{path}", body, headers)
    response = connection.getresponse()
    text = response.read().decode()
    successors = response.headers.get_all("Refreshed-API-Token") or []
    if response.status in (401, 403):
        assert response.headers["Content-Type"] == "application/json", response.headers
    connection.close()
    return response.status, text, successors


def run(token, process=PROCESS):
    return send("PATCH", "run", bearer(token), process)


def heartbeat(authorization, body=PROCESS):
    return send("PUT", "heartbeat", authorization, body)


def expect(what, got, status, successors, body=None):
    assert (got[0], len(got[2])) == (status, successors), f"{what}: {got[0]}, {len(got[2])} successor(s)"
    assert body is None or got[1] == body, f"{what}: {got[1]}"
    print(f"{what}: {status}{' + successor' if successors else ''}")
    return got[2][0] if successors else None


def bearer(token):
    return f"Bearer {token}"


MISSING, INVALID = '{"detail":"Missing auth token"}', '{"detail":"Invalid auth token"}'
NOT_ALLOWED = '{"detail":"Token type not allowed for this endpoint"}'


def check_run():
    workload = mint(86_400, scope="workload", iat=int(time.time()), nbf=int(time.time()))
    expect("a workload token's heartbeat", heartbeat(bearer(workload)), 403, 0, NOT_ALLOWED)
    own = expect("a workload token's run", run(workload), 200, 1)
    claims = read(own)
    assert (claims["sub"], claims["scope"], claims["aud"]) == (TASK, "execution", AUDIENCES[0]), claims
    check_header(own)
    expect("  its execution token's heartbeat", heartbeat(bearer(own)), 204, 0)
    expect("  a second process", run(workload, '{"hostname": "worker-2", "pid": 1}'), 409, 0)


def check_times():
    for left, status, renewed in [
        (600, 204, 0),
        (130, 204, 0),
        (100, 204, 1),
        (3, 204, 1),
        (-5, 204, 1),  # within the leeway
        (-30, 403, 1),  # within the grace
        (-70, 403, 0),
    ]:
        token = mint(left)
        body = "" if status == 204 else INVALID
        successor = expect(f"{left} s left", heartbeat(bearer(token)), status, renewed, body)
        if successor:
            check_successor(unverified(token), successor)


def check_successor(old, successor):
    new = read(successor)
    for kept in ("sub", "scope", "iss", "aud"):
        assert new.get(kept) == old.get(kept), f"{kept} changed: {new}"
    assert new["nbf"] == new["iat"] and new["exp"] == new["iat"] + LIFETIME, new
    assert new["jti"] != old["jti"] and new["exp"] > old["exp"], new
    check_header(successor)
    expect("  the successor as the next token", heartbeat(bearer(successor)), 204, 0)


def check_header(token):
    header = jwt.get_unverified_header(token)
    assert header["alg"] == ALGORITHM, header
    # The service names its secret, so that the one before it is told apart. Airflow reads no name beside a secret.
    assert (header["kid"] == KID) == (ALGORITHM != "HS512"), header


def check_scopes():
    for scope in ("workload", "callback"):
        expect(f"scope {scope}", heartbeat(bearer(mint(100, scope=scope))), 403, 0, NOT_ALLOWED)
        expect(f"scope {scope}, expired", heartbeat(bearer(mint(-30, scope=scope))), 403, 0, INVALID)
    expect("no scope", heartbeat(bearer(mint(100, scope=None))), 204, 1)


def check_faults():
    expect("no token", heartbeat(None), 401, 0, MISSING)
    expect("another scheme", heartbeat("Basic dXNlcjpwYXNz"), 401, 0, MISSING)
    expect("garbage", heartbeat("Bearer garbage"), 403, 0, INVALID)
    expect("two spaces", heartbeat(f"Bearer  {mint(100)}"), 403, 0, INVALID)
    expect("another audience", heartbeat(bearer(mint(100, aud="urn:airflow.apache.org:api"))), 403, 0, INVALID)
    expect("another audience, expired", heartbeat(bearer(mint(-30, aud="other"))), 403, 0, INVALID)
    expect("the second audience", heartbeat(bearer(mint(100, aud=AUDIENCES[1]))), 204, 1)
    expect("another issuer", heartbeat(bearer(mint(100, iss="https://other"))), 403, 0, INVALID)
    expect("no issuer", heartbeat(bearer(mint(100, iss=None))), 403, 0, INVALID)
    expect("issued 5 s ahead", heartbeat(bearer(mint(LIFETIME + 5))), 204, 0)
    expect("issued 30 s ahead", heartbeat(bearer(mint(LIFETIME + 30))), 403, 0, INVALID)
    if ALGORITHM == "HS512":
        foreign = encode(unverified(mint(-30)), SIGNS[::-1])
        expect("another secret, expired", heartbeat(bearer(foreign)), 403, 0, INVALID)
    expect("a body that is no JSON object", heartbeat(bearer(mint(100)), body="[]"), 422, 1)


def check_parallel():
    for left, status in [(100, 204), (-30, 403)]:
        token = mint(left)
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: heartbeat(bearer(token)), range(64)))
        assert {answer[0] for answer in answers} == {status}, answers
        successors = {successor for answer in answers for successor in answer[2]}
        assert len(successors) == 1, f"{len(successors)} successors of one token"
        print(f"{left} s left, 64 at once: {status} + one successor")


if __name__ == "__main__":
    check_run()
    check_times()
    check_scopes()
    check_faults()
    check_parallel()
    print("every call answered as Airflow answers it")
