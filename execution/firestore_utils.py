"""Firestore, and the one place that loads Google's packages: when a client is opened, not before.

Every call has one deadline and no retry of the library's own, whose defaults block for minutes.
What comes of a call is its answer or a SyncError; when to try again is the caller's decision.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from msgspec import Struct

from execution.core.mirror.pace import Kind
from execution.core.mirror.plan import Version, Write
from execution.errors import SyncError

T = TypeVar("T")
log = logging.getLogger(__name__)

HOST: Final = "firestore.googleapis.com"
SCOPES: Final = ("https://www.googleapis.com/auth/datastore",)
# A client that is opened anew connects anew, and does not wait for what the last one waited for.
OPTIONS: Final = (("grpc.use_local_subchannel_pool", 1),)
EMULATOR_OWNER: Final = ("authorization", "Bearer owner")  # as the emulator wants it; no secret
ERROR_CHARS: Final = 200
CREDENTIALS_BYTES: Final = 64 * 1024

# What the server's codes mean for whoever must act; any other is a server that does not answer.
KINDS: Final[dict[str, Kind]] = {
    "FAILED_PRECONDITION": "conflict",
    "ALREADY_EXISTS": "conflict",
    "NOT_FOUND": "conflict",
    "ABORTED": "conflict",
    "INVALID_ARGUMENT": "invalid",
    "PERMISSION_DENIED": "refused",
    "UNAUTHENTICATED": "refused",
    "RESOURCE_EXHAUSTED": "refused",
}


class Target(Struct, frozen=True):
    """Where documents go; with an `emulator` (host:port on this machine) nothing leaves it."""

    project: str
    emulator: str | None
    credentials: Path | None
    root: str

    def __str__(self) -> str:
        return f"{self.emulator or HOST}/{self.project}/{self.root}"


class Found(Struct, frozen=True):
    """One document as it is there."""

    fields: dict[str, Any]
    version: Version


def credentials_problem(path: Path | None) -> str | None:
    """Say what is wrong with the file of a service account; nobody else may be able to read it."""
    if path is None:
        return "GOOGLE_APPLICATION_CREDENTIALS is not set"
    try:
        found = path.stat()
    except OSError as error:
        return f"GOOGLE_APPLICATION_CREDENTIALS: {path.name}: {error.strerror}"
    if not stat.S_ISREG(found.st_mode) or found.st_size > CREDENTIALS_BYTES:
        return f"GOOGLE_APPLICATION_CREDENTIALS: {path.name} is not a file of a key"
    if found.st_uid not in (0, os.geteuid()):
        return f"GOOGLE_APPLICATION_CREDENTIALS: {path.name} belongs to another user"
    if stat.S_IMODE(found.st_mode) & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        return f"GOOGLE_APPLICATION_CREDENTIALS: {path.name} has mode {mode:04o}: chmod 600"
    return None


class Firestore:
    """An open client of one target; it belongs to one thread."""

    def __init__(self, target: Target, deadline_s: float) -> None:
        """Load the library and open a channel; raise SyncError where the credentials are no good."""
        import grpc  # type: ignore[import-untyped]  # noqa: PLC0415  loaded only where something may be sent
        from google.api_core.exceptions import GoogleAPIError  # noqa: PLC0415  likewise
        from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415  likewise
        from google.cloud import firestore_v1  # noqa: PLC0415  likewise
        from google.cloud.firestore_v1.services import firestore  # noqa: PLC0415  likewise
        from google.cloud.firestore_v1.services.firestore import transports  # noqa: PLC0415  likewise
        from google.oauth2 import service_account  # noqa: PLC0415  likewise

        self._types = firestore_v1.types
        self._errors = (GoogleAPIError, GoogleAuthError, grpc.RpcError)
        self._deadline_s = deadline_s
        self._database = f"projects/{target.project}/databases/(default)"
        self._root = f"{self._database}/documents/{target.root}"
        self._metadata: tuple[tuple[str, str], ...] = ()
        make = transports.FirestoreGrpcTransport
        if target.emulator is not None:
            transport = make(channel=grpc.insecure_channel(target.emulator, options=OPTIONS))
            self._metadata = (EMULATOR_OWNER,)
        else:
            try:
                read_file = service_account.Credentials.from_service_account_file
                credentials = read_file(str(target.credentials), scopes=SCOPES)  # type: ignore[no-untyped-call]  # the library's
            except (OSError, ValueError, RecursionError, GoogleAuthError) as error:
                # The text of such an error may quote the file.
                text = f"credentials cannot be used: {type(error).__name__}"
                raise SyncError(text, "refused") from None
            # Tokens are signed here and not fetched: one host less that can stall a call.
            transport = make(
                credentials=credentials,
                always_use_jwt_access=True,
                channel=lambda host, **kwargs: make.create_channel(
                    host, **{**kwargs, "options": OPTIONS}
                ),
            )
        self._api = firestore.FirestoreClient(transport=transport)
        log.info("firestore client opened target=%s", target)

    def close(self) -> None:
        """Close the channel."""
        self._api.transport.close()  # type: ignore[no-untyped-call]  # the library's

    def read(self, names: Iterable[str]) -> dict[str, Found | None]:
        """Read documents as they were at one moment; None for one that does not exist."""
        found: dict[str, Found | None] = dict.fromkeys(names)
        request = self._types.BatchGetDocumentsRequest(
            database=self._database, documents=[self._path(name) for name in found]
        )

        def call() -> None:
            answers = self._api.batch_get_documents(
                request=request, retry=None, timeout=self._deadline_s, metadata=self._metadata
            )
            for answer in answers:
                document = type(answer).pb(answer).found
                if document.name:
                    name = document.name.removeprefix(f"{self._root}/")
                    found[name] = Found(_decode_map(document.fields), _moment(document.update_time))

        self._answer("read", call)
        return found

    def commit(self, writes: Sequence[Write]) -> list[Version]:
        """Write all documents or none; return when the server wrote each."""
        request = self._types.CommitRequest(database=self._database)
        message = type(request).pb(request)
        for write in writes:
            sent = message.writes.add()
            sent.update.name = self._path(write.name)
            _encode_map(sent.update.fields, write.document.fields)
            if write.version is None:
                sent.current_document.exists = False
            else:
                seconds, nanos = write.version
                sent.current_document.update_time.seconds = seconds
                sent.current_document.update_time.nanos = nanos

        def call() -> list[Version]:
            answer = self._api.commit(
                request=request, retry=None, timeout=self._deadline_s, metadata=self._metadata
            )
            return [_moment(each.update_time) for each in type(answer).pb(answer).write_results]

        return self._answer("commit", call)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _answer(self, what: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except self._errors as error:
            code = getattr(error, "grpc_status_code", None)
            name = type(error).__name__ if code is None else code.name
            text = str(getattr(error, "message", error))[:ERROR_CHARS]
            raise SyncError(f"{what}: {name}: {text}", KINDS.get(name, "unreachable")) from None


# ---------------------------------------------------------------- values
# The library's message classes cost a hundred times what the plain ones beneath them do.


def _encode_map(into: Any, fields: Mapping[str, Any]) -> None:  # noqa: ANN401  a map of messages
    for key, value in fields.items():
        _encode(into[key], value)


def _encode(into: Any, value: object) -> None:  # noqa: ANN401  a message
    """Set one message to a JSON value; `core.mirror.values` has looked at it before."""
    match value:
        case None:
            into.null_value = 0
        case bool():
            into.boolean_value = value
        case int():
            into.integer_value = value
        case float():
            into.double_value = value
        case str():
            into.string_value = value
        case Mapping():
            into.map_value.SetInParent()
            _encode_map(into.map_value.fields, value)
        case Sequence():
            into.array_value.SetInParent()
            for inner in value:
                _encode(into.array_value.values.add(), inner)
        case _:
            raise SyncError(f"a {type(value).__name__} is no JSON value", "invalid")


def _decode_map(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _decode(value) for key, value in fields.items()}


def _decode(value: Any) -> Any:  # noqa: ANN401  a message, and whatever JSON value it holds
    kind = value.WhichOneof("value_type")
    match kind:
        case "map_value":
            return _decode_map(value.map_value.fields)
        case "array_value":
            return [_decode(inner) for inner in value.array_value.values]
        case "null_value" | None:
            return None
        case "boolean_value" | "integer_value" | "double_value" | "string_value":
            return getattr(value, kind)
        case _:
            # Nothing that this project wrote: as text it differs from all that it would write.
            return str(value)


def _moment(time: Any) -> Version:  # noqa: ANN401  a message
    return time.seconds, time.nanos
