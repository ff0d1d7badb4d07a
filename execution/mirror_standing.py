"""Whether one service may write to the mirror now, and where it would write."""

from __future__ import annotations

from typing import Final

from execution import guards
from execution import settings as settings_door
from execution.firestore_utils import Target, credentials_problem
from execution.guards import Publishing, PublishValues, Service
from execution.log_lines import one_line
from execution.settings import Settings
from execution.state_schema import registry
from execution.state_store import StateStore, Unreadable

PROJECT_OF_EMULATOR: Final = "hedge"


def target_of(settings: Settings) -> Target:
    """Return where this process's documents are."""
    return Target(
        project=settings.firestore_project or PROJECT_OF_EMULATOR,
        emulator=settings.firestore_emulator,
        credentials=settings.firestore_credentials,
        root=f"hedge/{settings.env}",
    )


def standing(settings: Settings, store: StateStore, service: Service) -> Publishing:
    """Decide afresh: the guards first, then whether what is here may go where it would go."""
    values = settings_door.publish_values()
    publishing = guards.may_publish(values, service)
    if not publishing.allowed:
        return publishing
    reason = _unlike_the_start(settings, values) or _whose_files(settings, store)
    if reason is None and settings.firestore_emulator is None:
        reason = credentials_problem(settings.firestore_credentials)
    return publishing if reason is None else Publishing(False, reason, publishing.alerts)


def _unlike_the_start(settings: Settings, values: PublishValues) -> str | None:
    """Compare what the guards look at, which is set now, with where this process would write."""
    started = (settings.env, settings.mode, settings.firestore_project, settings.firestore_emulator)
    if started == (values.env, values.mode, values.project_id, values.emulator_host):
        return None
    return "mode or target in the environment or .env is another than at this start: restart"


def _whose_files(settings: Settings, store: StateStore) -> str | None:
    """Look who wrote the files: a book of one mode must not be told under the name of another."""
    health, probe = store.inspect(registry.EXECUTOR_HEALTH), store.inspect(registry.RUNTIME_PROBE)
    if isinstance(health, Unreadable) or isinstance(probe, Unreadable):
        missing = health if isinstance(health, Unreadable) else probe
        return f"whose files these are is not known: {one_line(str(missing))}"
    theirs, ours = (probe.env, health.mode), (settings.env, settings.mode)
    if theirs == ours:
        return None
    return f"the executor's files are {' '.join(theirs)}, this process is {' '.join(ours)}"
