"""The simulator shares no code with what it checks."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

FOLDER = Path(settings.BASE_DIR) / "wxwork" / "simulator"
ALLOWED = {"httpx", "cryptography", "orjson", "wxwork.simulator"}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield node.module or ""


def test_it_imports_the_standard_library_and_three_packages_only():
    files = list(FOLDER.rglob("*.py"))
    assert len(files) > 30
    foreign = {
        (path.name, module)
        for path in files
        for module in imported(path)
        if module.split(".")[0] not in sys.stdlib_module_names | ALLOWED
        and ".".join(module.split(".")[:2]) not in ALLOWED
    }
    assert foreign == set()
