"""Plays a client of Langflow against `examples/langflow.rs`: tokens by PyJWT, minted and checked as Langflow does.

    ALGORITHM=HS256 KEY=... PASSWORD=... ID=... python3 tests/langflow/client.py 127.0.0.1:7860

Run by the test `it_and_pyjwt_admit_each_others_tokens`.
"""

import http.client
import json
import os
import sys
from datetime import datetime, timedelta, timezone
from urllib.parse import urlencode

try:
    import jwt
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
except ImportError:
    sys.exit("PyJWT is missing: `python3 -m pip install 'PyJWT[crypto]==2.*'` installs it")

ADDRESS, ALGORITHM, KEY, ID = sys.argv[1], os.environ["ALGORITHM"], os.environ["KEY"], os.environ["ID"]
if ALGORITHM == "HS256":
    SIGNING = VERIFYING = KEY
else:
    SIGNING = load_pem_private_key(KEY.encode(), password=None)
    VERIFYING = SIGNING.public_key()


def mint(kind, left):
    """As Langflow's `create_token`."""
    claims = {"sub": ID, "type": kind, "exp": datetime.now(timezone.utc) + timedelta(seconds=left)}
    return jwt.encode(claims, SIGNING, algorithm=ALGORITHM)


def check(token):
    """As Langflow's `get_current_user_by_jwt`, up to the database."""
    claims = jwt.decode(token, VERIFYING, algorithms=[ALGORITHM])
    assert claims["type"] == "access" and claims["sub"] == ID, claims
    assert datetime.now(timezone.utc) <= datetime.fromtimestamp(claims["exp"], timezone.utc)


def send(method, path, headers, body=None):
    connection = http.client.HTTPConnection(ADDRESS, timeout=10)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response, json.loads(text)


def whoami(token):
    return send("GET", "/api/v1/users/whoami", {"Authorization": f"Bearer {token}"})


def expect(holds, what):
    if not holds:
        sys.exit(f"not so: {what}")


for left, status, renewed in [(3500, 200, False), (300, 200, True), (-20, 401, True)]:
    response, body = whoami(mint("access", left))
    successor = response.getheader("refreshed-api-token")
    expect((response.status, bool(successor)) == (status, renewed), f"{left} s left: {response.status} {body}")
    if successor:
        check(successor)
        expect(whoami(successor)[0].status == 200, "the successor is admitted")

form = urlencode({"username": "langflow", "password": os.environ["PASSWORD"]})
response, pair = send("POST", "/api/v1/login", {"Content-Type": "application/x-www-form-urlencoded"}, form)
expect(response.status == 200, f"login: {pair}")
check(pair["access_token"])

for token in [pair["refresh_token"], mint("refresh", 600000)]:
    response, refreshed = send("POST", "/api/v1/refresh", {"Cookie": f"refresh_token_lf={token}"})
    expect(response.status == 200, f"refresh: {refreshed}")
    check(refreshed["access_token"])
    expect(whoami(refreshed["access_token"])[0].status == 200, "the new access token is admitted")

print("every token was answered as Langflow answers it")
