"""A Firestore of one's own on this machine: preconditions, atomic commits, counts, and faults.

It speaks the real wire format to any client, keeps what it is told in memory, and refuses what the
real one refuses as far as this project can tell. It stands in for Google's emulator where that is
not installed, and for the faults that the emulator cannot make.
"""

from __future__ import annotations

import threading
from concurrent import futures
from typing import Any

import grpc
from google.cloud.firestore_v1.types import Document, Value
from google.cloud.firestore_v1.types import firestore as wire

MIB = 1_048_576
CODES = {
    "unavailable": grpc.StatusCode.UNAVAILABLE,
    "denied": grpc.StatusCode.PERMISSION_DENIED,
    "exhausted": grpc.StatusCode.RESOURCE_EXHAUSTED,
}
SERVICE = "google.firestore.v1.Firestore"


class FirestoreServer:
    """The server; `fault` is None, a name of CODES, "stalled", "slow" or "lost_answer"."""

    def __init__(self) -> None:
        self.fault: str | None = None
        self.poison: str | None = None  # a document that is refused, by the end of its path
        self.slow_s = 0.2
        self.documents: dict[str, Any] = {}
        self.calls = self.reads = 0
        self.commits: list[dict[str, int]] = []  # bytes by document, of each commit that was done
        self.history: list[tuple[str, dict[str, Any]]] = []
        self.callers: set[str] = set()
        self._nanos = 0
        self._port = 0
        self._lock = threading.Lock()
        self._never = threading.Event()
        self._server: Any = None
        self.start()

    # ------------------------------------------------------------ its life

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._never = threading.Event()
        self._server = grpc.server(
            futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)]
        )
        handlers = {
            "BatchGetDocuments": grpc.unary_stream_rpc_method_handler(
                self._get, wire.BatchGetDocumentsRequest.deserialize, _bytes
            ),
            "Commit": grpc.unary_unary_rpc_method_handler(
                self._commit, wire.CommitRequest.deserialize, _bytes
            ),
            "ListDocuments": grpc.unary_unary_rpc_method_handler(
                self._list, wire.ListDocumentsRequest.deserialize, _bytes
            ),
        }
        generic = grpc.method_handlers_generic_handler(SERVICE, handlers)
        self._server.add_generic_rpc_handlers((generic,))
        self._port = self._server.add_insecure_port(f"127.0.0.1:{self._port}")
        assert self._port
        self._server.start()

    def stop(self) -> None:
        """Be gone: connections are refused."""
        self._never.set()
        self._server.stop(None).wait()

    @property
    def writes(self) -> int:
        return sum(map(len, self.commits))

    # ------------------------------------------------------------ what it answers

    def _get(self, request: Any, context: Any) -> Any:
        self._meet(context)
        with self._lock:
            self.reads += len(request.documents)
            found = [(name, self.documents.get(name)) for name in request.documents]
        for name, document in found:
            if document is None:
                yield wire.BatchGetDocumentsResponse(missing=name, read_time=self._time())
            else:
                yield wire.BatchGetDocumentsResponse(found=document, read_time=self._time())

    def _list(self, request: Any, context: Any) -> Any:
        self._meet(context)
        prefix = f"{request.parent}/{request.collection_id}/"
        with self._lock:
            found = [document for name, document in self.documents.items()
                     if name.startswith(prefix)]  # fmt: skip
        return wire.ListDocumentsResponse(documents=found)

    def _commit(self, request: Any, context: Any) -> Any:
        self._meet(context)
        with self._lock:
            for write in request.writes:
                self._check(write, context)
            done = [self._apply(write) for write in request.writes]
            self.commits.append(
                {write.update.name: len(_bytes(write.update)) for write in request.writes}
            )
        if self.fault == "lost_answer":
            context.abort(grpc.StatusCode.UNAVAILABLE, "the connection was lost")
        return wire.CommitResponse(write_results=done, commit_time=self._time())

    def _meet(self, context: Any) -> None:
        self.calls += 1
        self.callers.add(context.peer())
        if self.fault in CODES:
            context.abort(CODES[self.fault], f"rehearsed: {self.fault}")
        if self.fault == "stalled":
            self._never.wait(30)
        if self.fault == "slow":
            self._never.wait(self.slow_s)

    def _check(self, write: Any, context: Any) -> None:
        name = write.update.name
        there = self.documents.get(name)
        condition = write.current_document
        if "exists" in condition and condition.exists != (there is not None):
            code = grpc.StatusCode.ALREADY_EXISTS if there else grpc.StatusCode.NOT_FOUND
            context.abort(code, f"{name}: exists={there is not None}")
        if "update_time" in condition and (
            there is None or there.update_time != condition.update_time
        ):
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"{name}: another version")
        problem = "poison" if self.poison and name.endswith(self.poison) else _problem(write.update)
        if problem is not None:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{name}: {problem}")

    def _apply(self, write: Any) -> Any:
        name = write.update.name
        there = self.documents.get(name)
        now = self._time()
        self.documents[name] = Document(
            name=name,
            fields=write.update.fields,
            create_time=now if there is None else there.create_time,
            update_time=now,
        )
        self.history.append((name, self.fields(name)))
        return {"update_time": now}

    def _time(self) -> dict[str, int]:
        self._nanos += 1000
        return {"seconds": 1_800_000_000, "nanos": self._nanos}

    # ------------------------------------------------------------ what a test asks

    def names(self) -> set[str]:
        """Name the documents, from the environment's folder on."""
        return {name.split("/documents/")[1] for name in self.documents}

    def fields(self, name: str) -> dict[str, Any]:
        """Return one document as plain values, by its full path or its end."""
        (document,) = [each for path, each in self.documents.items() if path.endswith(name)]
        return {key: _plain(Value.pb(value)) for key, value in document.fields.items()}

    def put(self, path: str, fields: dict[str, Any]) -> None:
        """Write one document by hand."""
        from execution.firestore_utils import _encode_map  # noqa: PLC0415

        document = Document(name=path, create_time=self._time(), update_time=self._time())
        _encode_map(Document.pb(document).fields, fields)
        self.documents[path] = document


def _bytes(message: Any) -> bytes:
    return type(message).serialize(message)


def _problem(document: Any) -> str | None:
    plain = Document.pb(document)
    if plain.ByteSize() > MIB:
        return "larger than 1 MiB"
    for key, value in plain.fields.items():
        if key.startswith("__") or not key:
            return f"key {key!r}"
        for inner in value.array_value.values:
            if inner.HasField("array_value"):
                return f"{key}: nested arrays"
    return None


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value_type")
    if kind == "map_value":
        return {key: _plain(inner) for key, inner in value.map_value.fields.items()}
    if kind == "array_value":
        return [_plain(inner) for inner in value.array_value.values]
    return None if kind == "null_value" else getattr(value, kind)
