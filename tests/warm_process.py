"""Tools in copies of one process that has imported Paddle: a test of a tool takes a second less.

The copies are forked before anything has been computed; no thread runs yet. What a tool reads from the environment when
Paddle is imported it would not see: a test that changes such a variable gets a fresh process (`conftest.run_tool`).
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

# Read when Python, Paddle or the libraries below it start.
_AT_START = ("PYTHON", "OMP_", "MKL_", "KMP_", "FLAGS_", "GLOG_", "PADDLE_", "CUDA_", "NVIDIA_", "LD_", "GLIBC_")

_SERVER = """
import atexit, json, os, runpy, signal, sys, traceback
from ppcore import runtime
runtime.configure()
runtime.configure = lambda *_: None  # done: it is for a process that has not imported Paddle
import ppcore.deploy, ppcore.engine.evaluate, ppcore.engine.predict, ppcore.engine.train

def child(job):
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = [job["script"], *job["arguments"]]
    sys.path[:0] = [os.path.dirname(job["script"]), *job["path"]]
    status = 0
    try:
        runpy.run_path(job["script"], run_name="__main__")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

requests = sys.stdin
print("ready", flush=True)
for line in iter(requests.readline, ""):
    process = os.fork()
    if process == 0:
        child(json.loads(line))
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
"""


def _at_start(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_AT_START)}


class WarmProcess:
    """One such process.

    Args:
        root: of the repository.
    """

    def __init__(self, root: Path):
        self.given = _at_start(dict(os.environ))
        environment = {**os.environ, "PYTHONPATH": str(root)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            cwd=root,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "ready\n"

    def suits(self) -> bool:
        """Whether a fresh process would start with the same variables."""
        return self.given == _at_start(dict(os.environ))

    def run(self, script: Path, arguments: list[str], path: list[str], cwd: Path) -> subprocess.CompletedProcess:
        """Runs a script to its end, with the variables of this moment."""
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder, "stdout"), Path(folder, "stderr")
            job = {
                "script": str(script), "arguments": arguments, "path": path, "cwd": str(cwd), "env": dict(os.environ),
                "stdout": str(out), "stderr": str(err),
            }  # fmt: skip
            job["env"]["PYTHONPATH"] = os.pathsep.join([str(script.parent.parent), *path])
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
            assert answer, f"the process that runs {script.name} ended: {arguments}"
            text = [each.read_text() if each.exists() else "" for each in (out, err)]
        return subprocess.CompletedProcess([str(script), *arguments], int(answer), *text)

    def close(self) -> None:
        """Ends it."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
