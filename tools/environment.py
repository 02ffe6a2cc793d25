"""Says which command sets the tools' environment up where it is missing, in one line instead of a traceback.

Every tool imports this module first. It needs nothing but Python, and reads on releases too old for the suite.
"""

import re
import sys
from importlib.util import find_spec
from pathlib import Path

PYTHON = (3, 11)
ROOT = Path(__file__).resolve().parents[1]
# Packages that are not called like the distribution that brings them.
CALLED = {
    "opencv-python": "cv2",
    "Pillow": "PIL",
    "PyYAML": "yaml",
    "scikit-learn": "sklearn",
    "scikit-image": "skimage",
}


def needed():
    """Returns the packages that the tools import: the suite itself, Paddle, and those that setup.py always brings."""
    text = (ROOT / "setup.py").read_text(encoding="utf-8")
    declared = re.search(r"install_requires=\[(.*?)\]", text, flags=re.DOTALL).group(1)
    names = re.findall(r'"([A-Za-z0-9_.-]+?)[<>=!~]', declared)
    return ["ppcore", "paddle", *(CALLED.get(name, name.lower()) for name in names)]


def complaint():
    """Returns what is missing and the command that sets it up, in one line; None where everything is there."""
    if sys.version_info < PYTHON:
        what = "Python {}.{} is too old, the suite needs {}.{}".format(*sys.version_info[:2], *PYTHON)
    else:
        missing = [name for name in needed() if find_spec(name) is None]
        if not missing:
            return None
        more = f" and {len(missing) - 3} more" if len(missing) > 4 else ""
        names = ", ".join(missing[:3] if more else missing)
        are = "are" if len(missing) > 1 else "is"
        what = f"{names}{more} {are} not installed for {sys.executable}"
    made = sorted(path.parent for path in ROOT.glob(".venv*/installed"))
    active = Path(sys.prefix).resolve()
    if active in [path.resolve() for path in made]:
        return f"{what}; set it up anew: make -B -C {ROOT} {active.name}/installed"
    if made:
        return f"{what}; use the environment that make has made: . {made[0]}/bin/activate"
    return f"{what}; set it up: make -C {ROOT} .venv/installed && . {ROOT}/.venv/bin/activate"


said = complaint()
if said:
    sys.stderr.write(f"error: {said}\n")
    sys.exit(2)
