"""Plays Airflow's task client against `examples/airflow.rs`: tokens by PyJWT, minted as Airflow mints them.

    AIRFLOW_SECRET=... python3 tests/airflow_client.py 127.0.0.1:9091

Run by the test `airflow_keeps_the_tokens_of_pyjwt_alive`, which starts the server with the settings below.
"""

import http.client
import os
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

try:
    import jwt
except ImportError:
    sys.exit("PyJWT is missing: `python3 -m pip install 'PyJWT==2.*'` installs it")

ADDRESS = sys.argv[1]
SECRET = os.environ["AIRFLOW_SECRET"]
AUDIENCES = ["urn:airflow.apache.org:task", "urn:example:tasks"]
ISSUER = "https://airflow.example"
LIFETIME, LEEWAY = 600, 10


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
        "sub": str(uuid.uuid4()),
        "scope": "execution",
    }
    claims.update(changes)
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, SECRET, algorithm="HS512", headers={"kid": "not-used"})


def read(token):
    return jwt.decode(token, SECRET, algorithms=["HS512"], audience=AUDIENCES, issuer=ISSUER, leeway=LEEWAY)


def unverified(token):
    return jwt.decode(token, options={"verify_signature": False})


def heartbeat(authorization, body='{"hostname": "worker-1", "pid": 4711}'):
    """Status, body and successors of one heartbeat, as the task client sends it."""
    connection = http.client.HTTPConnection(ADDRESS, timeout=10)
    headers = {"Content-Type": "application/json"}
    if authorization is not None:
        headers["Authorization"] = authorization
    connection.request("PUT", f"/execution/task-instances/{uuid.uuid4()}/heartbeat", body, headers)
    response = connection.getresponse()
    text = response.read().decode()
    successors = response.headers.get_all("Refreshed-API-Token") or []
    if response.status in (401, 403):
        assert response.headers["Content-Type"] == "application/json", response.headers
    connection.close()
    return response.status, text, successors


def expect(what, got, status, successors, body=None):
    assert (got[0], len(got[2])) == (status, successors), f"{what}: {got[0]}, {len(got[2])} successor(s)"
    assert body is None or got[1] == body, f"{what}: {got[1]}"
    print(f"{what}: {status}{' + successor' if successors else ''}")
    return got[2][0] if successors else None


def bearer(token):
    return f"Bearer {token}"


MISSING, INVALID = '{"detail":"Missing auth token"}', '{"detail":"Invalid auth token"}'


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
    assert jwt.get_unverified_header(successor)["kid"] == "not-used"
    assert jwt.get_unverified_header(successor)["alg"] == "HS512"
    expect("  the successor as the next token", heartbeat(bearer(successor)), 204, 0)


def check_scopes():
    for scope in ("workload", "callback"):
        expect(f"scope {scope}", heartbeat(bearer(mint(100, scope=scope))), 204, 0)
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
    foreign = jwt.encode(unverified(mint(-30)), SECRET[::-1], algorithm="HS512", headers={"kid": "not-used"})
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
    check_times()
    check_scopes()
    check_faults()
    check_parallel()
    print("all heartbeats answered as Airflow answers them")
