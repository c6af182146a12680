"""Every place in `src/` that touches a file, a process, a library or a name that is computed."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "src"

# By the last part of what is called; what a name means elsewhere is judged all the same.
FILES = {
    "open", "fdopen", "read_text", "read_bytes", "write_text", "write_bytes", "safe_open",
    "load_file", "save_model", "mkstemp", "mkdtemp", "TemporaryDirectory", "NamedTemporaryFile",
    "TemporaryFile", "replace", "rename", "symlink", "link", "rmtree", "copy", "copyfile",
}  # fmt: skip
CODE = {
    "eval", "exec", "__import__", "import_module", "exec_module", "find_spec",
    "spec_from_file_location", "run_path", "run_module", "load_module",
}  # fmt: skip
PROCESSES = {"run", "Popen", "call", "check_call", "check_output", "system", "popen", "execv",
             "execve", "spawnv", "fork", "startfile", "start_new_process"}  # fmt: skip
LIBRARIES = {"CDLL", "PyDLL", "LoadLibrary", "dlopen", "load_library", "from_address"}
# These names mean something harmless unless they are called on one of these.
ONLY_OF = {
    "open": {"", "os", "gzip", "io", "Image", "Images", "webbrowser"},
    "replace": {"os", "draft"}, "rename": {"os"}, "link": {"os"}, "symlink": {"os"},
    "copy": {"shutil"}, "copyfile": {"shutil"},
    "eval": {""}, "exec": {""},
    "run": {"subprocess"}, "call": {"subprocess"}, "system": {"os"}, "popen": {"os"},
    "fork": {"os"}, "load": {"torch", "pickle", "marshal", "joblib", "np", "numpy"},
    "loads": {"pickle", "marshal"}, "start_new_process": {"mp"},
}  # fmt: skip
EVERY = FILES | CODE | PROCESSES | LIBRARIES | {"load", "loads"}


def places() -> Counter[tuple[str, str]]:
    """How often each file calls each of them: (`cli/main.py`, `import_module`) → 1."""
    found: Counter[tuple[str, str]] = Counter()
    for path in sorted(SOURCES.rglob("*.py")):
        name = path.relative_to(SOURCES / "convsmith").as_posix()
        found.update((name, call) for call in calls(path.read_text(encoding="utf-8")))
    return found


def calls(source: str) -> Iterator[str]:
    """The calls of one file that somebody has to judge."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        owner, name = called(node.func)
        if name == "getattr" and len(node.args) > 1:
            # Its own attributes are a class's own affair.
            own = isinstance(node.args[0], ast.Name) and node.args[0].id == "self"
            if not own and not isinstance(node.args[1], ast.Constant):
                yield "getattr"
        elif name in EVERY and (name not in ONLY_OF or owner in ONLY_OF[name]):
            yield f"{owner}.{name}" if name in ("load", "loads", "run", "call") else name
        elif name == "open" and isinstance(node.func, ast.Attribute):
            yield "open"  # of a path


def called(node: ast.expr) -> tuple[str, str]:
    """What a call is made on, and its name: `os.path.join` gives `path` and `join`."""
    if isinstance(node, ast.Name):
        return "", node.id
    if isinstance(node, ast.Attribute):
        inner = node.value
        owner = inner.id if isinstance(inner, ast.Name) else getattr(inner, "attr", "?")
        return str(owner), node.attr
    return "?", "?"
