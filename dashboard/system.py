"""The machine: loop, errors, processes, the mirror, files, flags and the ends of the logs."""

from __future__ import annotations

import streamlit as st

from dashboard import drawing, view_suite, view_system
from dashboard.seen import Seen, Viewer
from execution.state_schema import registry

JOURNALS = (registry.FLAGS, registry.AUDIT)


def draw(seen: Seen, viewer: Viewer, now: float) -> None:
    """Draw the page once."""
    drawing.tiles("loop", view_system.tiles(seen, now))
    left, right = st.columns(2, gap="small")
    with left:
        with drawing.panel("processes", "Processes"):
            drawing.processes(view_suite.processes(seen, viewer, now))
        errors = view_system.errors(seen, now)
        with drawing.panel("errors", "Errors by stage", errors.age):
            drawing.table("errors", errors)
        sync = view_suite.sync(seen, now)
        with drawing.panel("sync", "Sync state", sync.age):
            drawing.facts("sync", sync)
    with right:
        versions = view_system.versions(seen, viewer, now)
        with drawing.panel("versions", "Versions and switches", versions.age):
            drawing.facts("versions", versions)
    files = view_system.files(seen, now)
    with drawing.panel("files", "State files", files.age):
        drawing.table("files", files)
    changes = view_system.changes(seen, now)
    with drawing.panel("changes", "Starts, flags and operators' acts", changes.age):
        drawing.table("changes", changes)
    with drawing.panel("log", "Logs"):
        with drawing.fields():
            wanted = drawing.field("Process", "process", "executor")
            text = drawing.field("Containing", "containing", "any text")
        found = view_system.log(seen, wanted or "executor", text)
        drawing.log("log", found.text, found.note)
