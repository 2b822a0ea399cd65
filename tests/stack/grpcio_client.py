"""Calls Health/Check with each token, and prints what grpcio makes of the answer: a line of JSON each."""

import json
import sys

import grpc

address, *tokens = sys.argv[1:]
channel = grpc.insecure_channel(address)
check = channel.unary_unary(
    "/grpc.health.v1.Health/Check", request_serializer=lambda data: data, response_deserializer=lambda data: data
)
for token in tokens:
    metadata = [("authorization", "Bearer " + token)] if token else []
    try:
        _, call = check.with_call(b"", metadata=metadata, timeout=20)
        code, message, told = grpc.StatusCode.OK, "", [*call.initial_metadata()]
    except grpc.RpcError as error:
        code, message = error.code(), error.details()
        told = [*error.initial_metadata(), *error.trailing_metadata()]
    told = {key: value for key, value in told}
    print(json.dumps({
        "code": code.value[0],
        "message": message,
        "successor": told.get("refreshed-api-token"),
        "replay": told.get("reissue-replay"),
    }))
