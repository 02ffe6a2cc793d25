"""What the report does without: Paddle, and the engine but for the reader of its records."""

import subprocess
import sys
from pathlib import Path


def test_reports_import_neither_paddle_nor_the_engine():
    code = "import sys, ppcore.report; print(*sys.modules)"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=60, check=True
    )
    modules = set(done.stdout.split())
    assert "paddle" not in modules
    assert {name for name in modules if name.startswith("ppcore.engine.")} == {"ppcore.engine.records"}
