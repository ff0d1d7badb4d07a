"""The house rules as functions: one module's source → what in it breaks the rule.

A finding is a sentence that starts with `path:line`. `test_house_rules.py` runs them over the tree,
and over bad snippets, so that a rule that cannot fail is found out.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

FILE_LINES = 400
TEST_FILE_LINES = 500  # a test file tells many small stories of one room
FUNCTION_LINES = 60

# ---------------------------------------------------------------- who may import whom

PURE = {"execution.core", "execution.state_schema"}
GROUND = {
    "execution.clock",
    "execution.environment",
    "execution.errors",
    "execution.guards",
    "execution.overlay",
    "execution.services",
    "execution.settings",
    "execution.small_files",
    "execution.toml_files",
    "execution.v6_flags",
}
EDGES = {
    "execution.firestore_utils",
    "execution.jsonl_log",
    "execution.kill_latch",
    "execution.ledger",
    "execution.locks",
    "execution.service_loop",
    "execution.state_store",
    "execution.venue",
}
SHELL = {
    "execution.alert_command",
    "execution.intel_cycle",
    "execution.operator_requests",
    "execution.order_desk",
    "execution.pipeline_pair",
    "execution.reconciler",
    "execution.shadow_runner",
    "execution.signal_sources",
    "execution.state_publish",
}
OUTSIDE = {
    *PURE,
    *GROUND,
    "execution.jsonl_log",
    "execution.kill_latch",
    "execution.service_loop",
    "execution.state_store",
}

MIRRORING = PURE | GROUND | EDGES - {"execution.venue", "execution.ledger"}

# A room is the longest of these prefixes that a module has, and its own modules may import each
# other. A module of no room is a finding: it should stand in one, or be given one here.
ROOMS: dict[str, set[str]] = {
    "execution.core": {"execution.state_schema"},
    "execution.state_schema": {
        "execution.core.records",
        "execution.core.seam",
        "execution.core.types",
    },
    **dict.fromkeys(GROUND | EDGES, PURE | GROUND),
    **{room: PURE | GROUND | EDGES - {"execution.firestore_utils"} for room in SHELL},
    "execution.strategy_child": PURE,
    "execution.boot": PURE | GROUND | EDGES | SHELL,
    "execution.mirror_writer": MIRRORING,
    "execution.sync_state": MIRRORING | {"execution.mirror_writer"},
    "execution.executor_live": {"execution.boot", *PURE, *GROUND, *EDGES, *SHELL},
    "scripts.pipeline_service": {
        *OUTSIDE,
        "execution.mirror_writer",
        "execution.pipeline_pair",
    },
    "scripts.pipeline_shadow_heartbeat": OUTSIDE | {"scripts.pipeline_service"},
    "scripts.pipeline_compare_service": OUTSIDE | {"scripts.pipeline_service"},
    "scripts.cli": OUTSIDE,
    "scripts.cli.replay": {"scripts.cli", "execution.boot", "execution.executor_live", *OUTSIDE},
    "scripts.cli.mirrored": {
        "execution.mirror_writer",
        "execution.firestore_utils",
        *OUTSIDE,
    },
    "scripts.cli.sync": {
        "scripts.cli",
        "execution.sync_state",
        "execution.mirror_writer",
        *OUTSIDE,
    },
    "dashboard": OUTSIDE,
    "scripts.benchmarks": {"execution", "scripts", "dashboard"},  # they measure whatever there is
}
# A file that belongs to another's room.
ANNEXES = {
    "execution.disk_reserve": "execution.ledger",
    "execution.inbox_reader": "execution.signal_sources",
    "execution.intel_journals": "execution.intel_cycle",
    "execution.ledger_doubt": "execution.ledger",
    "execution.jsonl_files": "execution.jsonl_log",
    "execution.ledger_file": "execution.ledger",
    "execution.ledger_rows": "execution.ledger",
    "execution.ledger_views": "execution.ledger",
    "execution.limit_memory": "execution.order_desk",
    "execution.log_lines": "execution.service_loop",
    "execution.mirror_standing": "execution.mirror_writer",
    "execution.nav_journal": "execution.sync_state",
    "execution.strategy_process": "execution.signal_sources",
}
EMPTY_PACKAGES = {"execution", "scripts"}

# ---------------------------------------------------------------- one door each

ENVIRONMENT_DOORS = ("execution.settings", "execution.v6_flags")
CLOCK = ("execution.clock",)
DOORS: dict[str, tuple[str, ...]] = {
    "os.environ": ENVIRONMENT_DOORS,
    "os.environb": ENVIRONMENT_DOORS,
    "os.getenv": ENVIRONMENT_DOORS,
    "os.putenv": (),
    "tomllib": ("execution.toml_files",),
    "dotenv": ("execution.environment",),
    "time.time": CLOCK,
    "time.time_ns": CLOCK,
    "time.monotonic": CLOCK,
    "time.monotonic_ns": CLOCK,
    "time.perf_counter": (*CLOCK, "scripts.benchmarks"),
    "time.perf_counter_ns": (*CLOCK, "scripts.benchmarks"),
    "time.sleep": CLOCK,
    "datetime.datetime.now": CLOCK,
    "datetime.datetime.utcnow": CLOCK,
    "datetime.datetime.today": CLOCK,
    "datetime.date.today": CLOCK,
    "ccxt": ("execution.venue.ccxt_",),
    "google": ("execution.firestore_utils",),
    "grpc": ("execution.firestore_utils",),
    "streamlit": ("dashboard", "scripts.benchmarks"),
    "sqlite3": ("execution.ledger", "execution.ledger_file", "execution.venue.paper_store"),
}

IMPURE = {
    "asyncio",
    "ccxt",
    "io",
    "json",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "random",
    "secrets",
    "shutil",
    "socket",
    "sqlite3",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "tomllib",
    "urllib",
    "uuid",
}
IMPURE_CALLS = {"input", "open", "print"}
BROAD = {"Exception", "BaseException"}
EMPTY_NAMES = re.compile(r"(^|_)(utils?|helpers?|managers?)($|_)|(Util|Utils|Helper|Manager)$")
NAMED_BY_THE_CONTRACT = {"execution.firestore_utils"}  # by the migration document


class Module:
    """One parsed file; `name` is dotted, as it is imported."""

    def __init__(self, path: str, source: str) -> None:
        self.path = path
        self.name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        self.lines = source.splitlines()
        self.tree = ast.parse(source, path)

    def at(self, node: ast.AST, finding: str) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 1)} {finding}"

    def has(self, prefixes: tuple[str, ...]) -> bool:
        return self.name.startswith(prefixes)

    @cached_property
    def imports(self) -> list[tuple[ast.AST, str]]:
        """List what is imported, wherever it stands, as `package.module.name`."""
        found: list[tuple[ast.AST, str]] = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [(node, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    package = self.name.split(".")
                    keep = len(package) - node.level + self.path.endswith("/__init__.py")
                    base = ".".join([*package[:keep], *([base] if base else [])])
                found += [(node, f"{base}.{alias.name}") for alias in node.names]
        return found

    @cached_property
    def uses(self) -> list[tuple[ast.AST, str]]:
        """List the dotted names that are imported or looked up, whatever they are called here."""
        local: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.split(".")[0]
                    local[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom) and not node.level:
                for alias in node.names:
                    local[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        looked_up = [
            (node, dotted)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Attribute) and (dotted := _dotted(node, local)) is not None
        ]
        return [*self.imports, *looked_up]


def _dotted(node: ast.expr, local: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return local.get(node.id)
    if isinstance(node, ast.Attribute) and (base := _dotted(node.value, local)) is not None:
        return f"{base}.{node.attr}"
    return None


def _within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def _home(name: str) -> str:
    return next((room for annex, room in ANNEXES.items() if _within(name, annex)), name)


def _room(name: str) -> str | None:
    return max((room for room in ROOMS if _within(_home(name), room)), key=len, default=None)


# ---------------------------------------------------------------- the rules


def layers(module: Module) -> Iterator[str]:
    """Who may import whom."""
    if module.name in EMPTY_PACKAGES and not module.imports:
        return
    room = _room(module.name)
    if room is None:
        yield f"{module.path}:1 stands in no room of the house (tests/house.py ROOMS)"
        return
    for node, target in module.imports:
        if target.split(".")[0] not in {"execution", "scripts", "dashboard"}:
            continue
        allowed = ROOMS[room] | {room}
        if not any(_within(_home(target), prefix) for prefix in allowed):
            yield module.at(node, f"{room} must not import {target}")


def doors(module: Module) -> Iterator[str]:
    """One door each."""
    for node, used in module.uses:
        for thing, keepers in DOORS.items():
            if _within(used, thing) and not module.has(keepers):
                yield module.at(node, f"{thing} belongs to {' or '.join(keepers) or 'nobody'}")


def pure_core(module: Module) -> Iterator[str]:
    """Core and state_schema compute, and touch nothing."""
    if not module.has(tuple(PURE)):
        return
    for node, target in module.imports:
        top = target.split(".")[0]
        third_party = top not in sys.stdlib_module_names and top not in {"execution", "msgspec"}
        if top in IMPURE or third_party:
            yield module.at(node, f"a pure room must not import {top}")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) in IMPURE_CALLS:
            yield module.at(node, f"a pure room must not call {ast.unparse(node.func)}()")


def broad_excepts(module: Module) -> Iterator[str]:
    """Name every `except` that catches more than named errors; the tree may hold one."""
    for node in ast.walk(module.tree):
        caught: list[ast.expr] = []
        if isinstance(node, ast.ExceptHandler):
            if node.type is None:
                yield module.at(node, "a bare except")
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type or node]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            caught = node.args
        for kind in caught:
            if isinstance(kind, ast.Name | ast.Attribute) and _last(kind) in BROAD:
                yield module.at(node, f"catches {ast.unparse(kind)}")


def _last(node: ast.expr) -> str:
    return ast.unparse(node).rsplit(".", 1)[-1]


def lengths(module: Module) -> Iterator[str]:
    """A long file or function holds two ideas."""
    limit = TEST_FILE_LINES if module.has(("tests",)) else FILE_LINES
    if len(module.lines) > limit:
        yield f"{module.path}:1 has {len(module.lines)} lines, over {limit}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                yield module.at(node, f"{node.name} has {length} lines, over {FUNCTION_LINES}")


def module_state(module: Module) -> Iterator[str]:
    """No `global`, no cached function but boot's, no variable container at module level."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Global):
            yield module.at(node, f"global {', '.join(node.names)}")
        cached = {"cache", "lru_cache"} & {_last(used) for used in _decorators(node)}
        if cached and module.name != "execution.boot":  # the one default engine
            yield module.at(node, f"{node.name} remembers between calls")
    for node in module.tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        if not any(re.fullmatch(r"_?[a-z][a-z0-9_]*", name) for name in names):
            continue
        value = getattr(node, "value", None)
        maker = ast.unparse(value.func) if isinstance(value, ast.Call) else ""
        container = isinstance(value, ast.Dict | ast.List | ast.Set)
        if container or maker.split(".")[-1] in {"dict", "list", "set", "deque", "defaultdict"}:
            yield module.at(node, f"{', '.join(names)} is module state")


def _decorators(node: ast.AST) -> list[ast.expr]:
    found = getattr(node, "decorator_list", [])
    return [used.func if isinstance(used, ast.Call) else used for used in found]


def approvals(module: Module) -> Iterator[str]:
    """Only risk approves."""
    if module.name == "execution.core.risk.engine":
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and _last(node.func) == "Approved":
            yield module.at(node, "Approved is made by execution.core.risk.engine alone")


def senders(module: Module) -> Iterator[str]:
    """Only the desk sends and cancels; a venue may hand on to the one that it wraps."""
    if module.name == "execution.order_desk" or module.has(("execution.venue.",)):
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr in {"submit", "cancel"}:
            yield module.at(node, f".{node.attr} is for execution.order_desk alone")


def empty_names(module: Module) -> Iterator[str]:
    """A name says what is inside."""
    if module.name not in NAMED_BY_THE_CONTRACT:
        for part in module.name.split("."):
            if EMPTY_NAMES.search(part):
                yield f"{module.path}:1 {part} says nothing about what is inside"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef) and EMPTY_NAMES.search(node.name):
            yield module.at(node, f"{node.name} says nothing about what is inside")


def reasons(module: Module) -> Iterator[str]:
    """An exception to a check says which one, and why."""
    told = re.compile(r"#\s*(noqa: [A-Z]+\d+(, ?[A-Z]+\d+)*|type: ignore\[[\w, -]+\])\W+\w")
    silenced = re.compile(r"#\s*(noqa|type:\s*ignore)")
    for number, line in enumerate(module.lines, start=1):
        if silenced.search(line) and not told.search(line):
            yield f"{module.path}:{number} silences a check without its name and a reason"


Rule = Callable[[Module], Iterator[str]]
CODE_RULES: tuple[Rule, ...] = (
    layers,
    doors,
    pure_core,
    lengths,
    module_state,
    approvals,
    senders,
    empty_names,
    reasons,
)
TEST_RULES: tuple[Rule, ...] = (lengths, empty_names)


def read_modules(*folders: str) -> list[Module]:
    """Parse every Python file under these folders of the project."""
    files = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return [Module(path.relative_to(ROOT).as_posix(), path.read_text()) for path in files]
