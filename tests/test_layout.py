"""The layers of the design, and what no committed file may contain."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "lineage"

GROUND = tuple(
    f"core.{name}"
    for name in ("knowledge", "tasks", "facts", "seeds", "reward", "intervals", "edits")
)
# What the ground floor may import of lineage: itself, and modules as pure as it is.
PURE = (
    *GROUND,
    *(
        "core.errors",
        "core.config",
        "core.config_advise",
        "core.config_agent",
        "core.config_engine",
        "core.config_training",
        "core.config_trajectory",
        "core.fields",
        "core.names",
    ),
    "core.urls",
    *("core.plaintext", "core.plainyaml", "core.curriculum", "suites.codebook", "suites.words"),
)
IMPURE = frozenset(
    """
    asyncio concurrent datetime ctypes glob http io logging multiprocessing os pathlib shutil
    signal socket sqlite3 ssl subprocess tempfile threading time urllib
    duckdb httpx hydra matplotlib openai pyarrow ray requests rich torch transformers vllm
    """.split()  # noqa: SIM905
)
# From the ground up: each floor, and which others it may import. Itself and `core`: always.
RUNNING = ("agent", "compose", "log", "markdown", "models", "report", "search", "suites")
BELOW: dict[str, tuple[str, ...]] = {
    "core": (),
    "markdown": (),
    "suites": (),
    "search": (),
    "log": (),
    "models": ("log",),
    "agent": ("log", "models", "search"),
    "metrics": ("log",),
    "report": ("log", "metrics"),
    "inspect": ("log", "metrics", "report", "search"),
    "surrogate": ("log", "models", "suites"),
    "conftree": (),
    "identity": ("models",),
    "compose": ("conftree", "identity", "models", "suites"),
    "runs": RUNNING,
    "training": (*RUNNING, "runs"),
    "commands": (*RUNNING, "conftree", "runs", "training", "metrics", "inspect", "surrogate"),
    "cli": (*RUNNING, "runs", "training", "metrics", "inspect", "commands"),
}
# Written in two parts, so that this file passes its own test.
REGISTRIES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("deb", "debian", "org"),
        ("archive", "ubuntu", "com"),
        ("conda", "anaconda", "org"),
        ("proxy", "golang", "org"),
        ("crates", "io"),
    )
)
TORCH_INDEX = ".".join(("download", "pytorch", "org"))
ROOTS = tuple(b"/%s/" % name for name in (b"work", b"root", b"home"))
ABSOLUTE = re.compile(rb"(?<![\w.~)}\]/-])/(?:work|root|home)/[\w.-]+")


def name_of(path: Path) -> str:
    """Return a module's name below `lineage`; the package's own is empty."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def within(module: str, floors: tuple[str, ...]) -> bool:
    return any(module == floor or module.startswith(f"{floor}.") for floor in floors)


@cache
def imports(module: str) -> frozenset[str]:
    """Return all that a module imports, also inside functions, as full dotted names."""
    return frozenset(found(MODULES[module]))


def found(path: Path) -> Iterator[str]:
    package = ("lineage", *path.relative_to(PACKAGE).parent.parts)
    text = path.read_text(encoding="utf-8")
    # Most of a module are expressions, of which one that imports has to name what does.
    whole = "import_module" in text or "__import__" in text
    for node in (ast.walk if whole else statements)(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            source = ".".join((*above, *(node.module or "").split("."))).strip(".")
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and called(node).endswith(("import_module", "__import__")):
            yield from (a.value for a in node.args if isinstance(a, ast.Constant))


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Return all statements below `node`, at any depth, without their expressions."""
    for part in ast.iter_child_nodes(node):
        if isinstance(part, (ast.stmt, ast.excepthandler, ast.match_case)):
            yield part
            yield from statements(part)


def called(node: ast.Call) -> str:
    """Return what a name or attribute that is called ends with."""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


@cache
def lineage_imports(module: str) -> frozenset[str]:
    """Return which modules of lineage a module imports, named below `lineage`."""
    names = (name.removeprefix("lineage.") for name in imports(module) if name != "lineage")
    return frozenset(name for name in names if name in MODULES)


def library_imports(module: str) -> set[str]:
    return {name.partition(".")[0] for name in imports(module)}


def test_every_module_is_on_a_floor() -> None:
    tops = {module.partition(".")[0] for module in MODULES}
    assert tops - {"", "__main__", "prompts"} == set(BELOW)
    assert set(GROUND) <= set(MODULES)


@pytest.mark.parametrize("module", [m for m in MODULES if within(m, PURE)])
def test_ground_floor_is_pure(module: str) -> None:
    assert not library_imports(module) & IMPURE
    calls = ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8")))
    names = {n.func.id for n in calls if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    assert not names & {"open", "print", "input", "exec", "eval"}
    assert not {name for name in lineage_imports(module) if not within(name, PURE)}


@pytest.mark.parametrize("floor", BELOW)
def test_nothing_imports_upward(floor: str) -> None:
    wrong = {
        f"{module} imports {name}"
        for module in MODULES
        if within(module, (floor,))
        for name in lineage_imports(module)
        if name and not within(name, (floor, "core", *BELOW[floor]))
    }
    assert not wrong


def test_only_the_command_line_is_above_the_command_line() -> None:
    assert {m for m in MODULES if "cli" in lineage_imports(m)} <= {"__main__"}


def test_no_import_cycles() -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for name in sorted(lineage_imports(module) - {module}):
                visit(name, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


def test_few_modules_know_vllm() -> None:
    known = {"models.vllm_engine", "models.vllm_extra", "models.vllm_cpu_lora"}
    assert {m for m in MODULES if "vllm" in library_imports(m)} == known


@cache
def committed() -> dict[str, bytes]:
    """Return each file that is in git, or would be after `git add .`."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-coz", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git work tree")
    names = [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    return {name: (ROOT / name).read_bytes() for name in names if (ROOT / name).is_file()}


@pytest.mark.parametrize("host", REGISTRIES)
def test_no_registry_addresses(host: str) -> None:
    assert not [name for name, data in committed().items() if host.encode() in data]


def test_torch_index_in_one_place() -> None:
    text = TORCH_INDEX.encode()
    counts = {name: data.count(text) for name, data in committed().items() if text in data}
    assert counts == {"jobs/setup.sh": 1}


def test_no_paths_of_one_machine() -> None:
    # To look for a folder takes a tenth of looking for what stands before it.
    maybe = {name: data for name, data in committed().items() if any(map(data.__contains__, ROOTS))}
    found = {name: ABSOLUTE.findall(data) for name, data in maybe.items()}
    assert not {name: paths[:3] for name, paths in found.items() if paths}


def test_files_are_small() -> None:
    large = {name: len(data) for name, data in committed().items() if len(data) > 16 << 20}
    assert not large, "weights and runs do not belong in git"


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-zA-Z0-9_][\w./-]*)\s*:(?![=:])", makefile, re.MULTILINE)
    quiet = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    done = subprocess.run(
        ["make", "help"], cwd=ROOT, env=quiet, capture_output=True, text=True, check=True
    )
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    described = {line[1] for line in lines if line[0] == "make" and len(line) == 3}
    assert sorted(targets) == sorted(described)
    assert {"help", "setup", "run", "test", "lint", "bench", "clean"} <= set(targets)
