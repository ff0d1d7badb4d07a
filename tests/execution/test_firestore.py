from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from execution.core.mirror.documents import Document
from execution.core.mirror.plan import Write
from execution.errors import SyncError
from execution.firestore_utils import Firestore, Target, credentials_problem
from tests.support.firestore_server import FirestoreServer

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 0.5

PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("aä€", max_size=5)
)
FIELDS = st.dictionaries(
    st.text("ab", min_size=1, max_size=5),
    PLAIN | st.lists(PLAIN, max_size=3) | st.dictionaries(st.sampled_from(["k", "l m"]), PLAIN),
    max_size=4,
)


@pytest.fixture
def client(server: FirestoreServer) -> Iterator[Firestore]:
    found = Firestore(Target("p", server.address, None, "hedge/dev"), DEADLINE_S)
    yield found
    found.close()


def write(name: str, version: tuple[int, int] | None = None, **fields: object) -> Write:
    return Write(Document(name, 1, dict(fields)), "", version)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(FIELDS)
def test_what_is_written_is_what_is_read(client, server, fields):
    server.documents.clear()
    (version,) = client.commit([write("state/a", **fields)])
    found = client.read(["state/a", "state/none"])
    assert found["state/none"] is None
    assert (found["state/a"].fields, found["state/a"].version) == (fields, version)
    # 1, 1.0 and True are equal in Python, and three things here.
    told, written = (json.dumps(each, sort_keys=True) for each in (found["state/a"].fields, fields))
    assert told == written


def test_a_commit_is_all_or_nothing_and_conditional(client, server):
    (version,) = client.commit([write("state/a", n=1)])
    for other in (None, (1, 1)):
        with pytest.raises(SyncError) as caught:
            client.commit([write("state/b", n=1), write("state/a", other, n=2)])
        assert caught.value.kind == "conflict"
    with pytest.raises(SyncError) as caught:
        client.commit([write("state/none", version, n=1)])
    assert caught.value.kind == "conflict"
    assert server.names() == {"hedge/dev/state/a"}
    client.commit([write("state/a", version, n=3)])
    assert server.fields("state/a") == {"n": 3}


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        ("unavailable", "unreachable", "UNAVAILABLE"),
        ("stalled", "unreachable", "DEADLINE_EXCEEDED"),
        ("denied", "refused", "PERMISSION_DENIED"),
        ("exhausted", "refused", "RESOURCE_EXHAUSTED"),
    ],
)
def test_a_fault_is_one_call_one_error_and_no_retry(client, server, fault, kind, said):
    server.fault = fault
    for what, call in (
        ("read", lambda: client.read(["state/a"])),
        ("commit", lambda: client.commit([write("state/a", n=1)])),
    ):
        calls, begun_s = server.calls, time.monotonic()
        with pytest.raises(SyncError) as caught:
            call()
        assert caught.value.kind == kind
        assert str(caught.value).startswith(f"{what}: {said}")
        assert server.calls == calls + 1
        assert time.monotonic() - begun_s < 20 * DEADLINE_S  # the library's own would be minutes
    server.fault = None
    assert client.read(["state/a"]) == {"state/a": None}


def test_a_dead_server_is_unreachable_and_one_that_is_back_is_found(client, server):
    server.stop()
    with pytest.raises(SyncError) as caught:
        client.read(["state/a"])
    assert caught.value.kind == "unreachable"
    server.start()
    again = Firestore(Target("p", server.address, None, "hedge/dev"), 5.0)
    assert again.read(["state/a"]) == {"state/a": None}
    again.close()


def test_every_call_says_its_deadline_and_no_retry():
    tree = ast.parse((ROOT / "execution" / "firestore_utils.py").read_text())
    calls = [
        {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("self._api.")
    ]
    network = [found for found in calls if "request" in found]
    assert len(network) == 2
    assert all(each["retry"] == "None" for each in network)
    assert all(each["timeout"] == "self._deadline_s" for each in network)


# ---------------------------------------------------------------- credentials


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_credentials_of_ones_own_are_taken(tmp_path, mode):
    path = tmp_path / "account.json"
    path.write_text("{}")
    path.chmod(mode)
    assert credentials_problem(path) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o777])
def test_credentials_that_others_can_read_are_not(tmp_path, mode):
    path = tmp_path / "account.json"
    path.write_text("{}")
    path.chmod(mode)
    assert credentials_problem(path) == (
        f"GOOGLE_APPLICATION_CREDENTIALS: account.json has mode {mode:04o}: chmod 600"
    )


def test_credentials_that_are_missing_or_no_file_are_named(tmp_path):
    assert credentials_problem(None) == "GOOGLE_APPLICATION_CREDENTIALS is not set"
    assert "No such file" in str(credentials_problem(tmp_path / "none.json"))
    assert "is not a file" in str(credentials_problem(tmp_path))


def test_broken_credentials_are_refused_and_never_quoted(tmp_path):
    path = tmp_path / "account.json"
    path.write_text(json.dumps({"type": "service_account", "private_key": "PLANTED-SECRET"}))
    with pytest.raises(SyncError) as caught:
        Firestore(Target("p", None, path, "hedge/dev"), 1.0)
    assert caught.value.kind == "refused"
    assert "PLANTED" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_service_accounts_file_opens_a_client_without_a_word_to_anybody(tmp_path):
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = tmp_path / "account.json"
    path.write_text(
        json.dumps(
            {
                "type": "service_account",
                "client_email": "a@p.iam.gserviceaccount.com",
                "private_key": pem.decode(),
                "token_uri": "http://127.0.0.1:1/token",
            }
        )
    )
    Firestore(Target("p", None, path, "hedge/dev"), 1.0).close()


def test_nothing_of_google_is_loaded_until_a_client_is_opened():
    program = (
        "import sys; from execution import firestore_utils, mirror_writer, sync_state; "
        "print([name for name in sys.modules if name.split('.')[0] in ('google', 'grpc')])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "[]\n"
