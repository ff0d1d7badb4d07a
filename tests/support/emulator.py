"""Google's own Firestore emulator, where it is installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MAIN = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
NAME = "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"
SDKS = ("/usr/lib/google-cloud-sdk", "/usr/share/google-cloud-sdk", "/opt/google-cloud-sdk")


def find_jar() -> Path | None:
    """Find the jar where FIRESTORE_EMULATOR_JAR says, or in the folder of the Cloud SDK."""
    named = os.environ.get("FIRESTORE_EMULATOR_JAR")
    gcloud = shutil.which("gcloud")
    sdks = [Path(sdk) for sdk in SDKS]
    if gcloud is not None:
        sdks.insert(0, Path(gcloud).resolve().parents[1])
    places = [Path(named)] if named else [sdk / NAME for sdk in sdks]
    return next((place for place in places if place.is_file()), None)


@contextmanager
def emulator(folder: Path) -> Iterator[str]:
    """Run it and lend its address; skip where it or Java is missing."""
    jar, java = find_jar(), shutil.which("java")
    if jar is None or java is None:
        missing = "the Firestore emulator's jar" if jar is None else "java"
        pytest.skip(f"{missing} is not on this machine; the server in tests/support stands in")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [java, "-cp", str(jar), MAIN, "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "emulator.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_until_it_listens(process, port, folder / "emulator.log")
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(30)


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"the emulator does not listen: {log.read_text()[-2000:]}")
