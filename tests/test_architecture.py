"""Each foreign library has one home, and the processes that should stay small do."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from mcads_node.workitems import open_store

PACKAGE = Path(__file__).resolve().parents[1] / "mcads_node"

#: where a library may be imported: modules and packages below mcads_node
HOMES = {
    "pynetdicom": {"association", "receive", "deliver", "pull"},
    "torch": {"engine", "companions", "architectures", "explain", "model_store"},
    "openvino": {"engine"},
    "safetensors": {"architectures", "gate", "model_store"},
    "requests": {"model_store"},
    "highdicom": {"report"},
    "PIL": {"report", "read"},
    "reportlab": {"report"},
    "sqlalchemy": {"workitems", "migrations"},
    "alembic": {"migrations"},
    "apscheduler": {"tend"},
    "prometheus_client": {"metrics"},
    "cryptography": {"tls"},
    "re2": {"pattern"},
    "yaml": {"yamlfile"},
    "pydantic": {"yamlfile", "config", "model_store", "calibration"},
    "matplotlib": {"evaluation"},
    "scipy": {"evaluation"},
    "gdcm": {"read"},
    "openjpeg": {"read"},
    "jpeg_ls": {"read"},
    "typer": {"cli"},
    "rich": {"cli", "verbs"},
    "ray": {"cluster"},
    "pickle": {"model_store"},  # a name of its error; see the isolated conversion
}


@cache
def trees() -> dict[Path, ast.Module]:
    """What every module of the package is made of."""
    return {file: ast.parse(file.read_text(encoding="utf-8")) for file in PACKAGE.rglob("*.py")}


def imports() -> Iterator[tuple[str, str]]:
    """Pairs of a module's home (its first name below the package) and a top-level name that it imports."""
    for file, tree in trees().items():
        home = file.relative_to(PACKAGE).with_suffix("").parts[0]
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from ((home, alias.name.split(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                yield home, node.module.split(".")[0]


@cache
def all_imports() -> frozenset[tuple[str, str]]:
    return frozenset(imports())


@pytest.mark.parametrize("library", sorted(HOMES))
def test_a_library_has_one_home(library: str) -> None:
    found = {home for home, name in all_imports() if name == library}
    assert found <= HOMES[library]
    # a library that is imported nowhere has lost its home, and its line here
    assert found or not HOMES[library]


def test_the_receiving_process_and_the_verbs_start_without_torch() -> None:
    heavy = "torch torchvision torchxrayvision highdicom pandas matplotlib scipy ray".split()
    script = (
        f"import sys, mcads_node.service, mcads_node.cli; print([m for m in {heavy} if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_a_database_that_is_up_to_date_is_opened_without_alembic(tmp_path: Path) -> None:
    database = tmp_path / "node.db"
    open_store(database).close()
    script = (
        "import sys, pathlib; from mcads_node.workitems import open_store; "
        f"open_store(pathlib.Path({str(database)!r})).close(); print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_worker_starts_without_what_would_double_its_start_and_its_memory() -> None:
    heavy = "torchvision torchxrayvision torch._dynamo pandas scipy.signal".split()
    script = f"import sys, mcads_node.worker; print([m for m in {heavy} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


#: what runs code that the data brings along, or may be told to
UNPICKLERS = set("pickle cPickle _pickle cloudpickle dill joblib shelve marshal PickleType".split())


def test_nothing_loads_a_pickle_outside_the_isolated_conversion() -> None:
    for file, tree in trees().items():
        if "torch.load(" in file.read_text(encoding="utf-8"):
            assert file.name == "convert_weights.py"
        for node in ast.walk(tree):
            assert not _runs_what_it_reads(node) or file.name == "convert_weights.py", f"{file}:{node!r}"


def _runs_what_it_reads(node: ast.AST) -> bool:
    match node:
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            module = getattr(node, "module", None) or ""
            found = {module.split(".")[0], *(each.name.split(".")[0] for each in names)}
            return bool(found & UNPICKLERS)
        case ast.Call(func=ast.Name(id="eval" | "exec" | "__import__")):
            return True
        case ast.Call(func=ast.Attribute(attr="unsafe_load" | "full_load")):
            return True
        case ast.keyword(arg="allow_pickle", value=value):
            return not (isinstance(value, ast.Constant) and value.value is False)
        case ast.keyword(arg="shell", value=value):
            return not (isinstance(value, ast.Constant) and value.value is False)
    return False


@pytest.mark.parametrize(
    ("source", "caught"),
    [
        ("import pickle", True),
        ("from sqlalchemy import PickleType", True),
        ("numpy.load(file, allow_pickle=True)", True),
        ("numpy.load(file, allow_pickle=False)", False),
        ("yaml.unsafe_load(text)", True),
        ("eval(text)", True),
        ("yaml.safe_load(text)", False),
    ],
)
def test_what_runs_data_is_recognised(source: str, caught: bool) -> None:
    assert any(_runs_what_it_reads(node) for node in ast.walk(ast.parse(source))) == caught
