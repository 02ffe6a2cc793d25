"""A contender in a process that lives as long as the measurement: asked and answering over pipes, a line of JSON each.

Starting, loading and compiling are paid once, the contenders take turns, and no two of them ever compute together.
"""

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.fresh_process import clean_environment

Answer = dict[str, Any]


class LivingProcess:
    """`python -m module JOB`, whose module calls `serve`.

    Args:
        module: of `benchmarks`.
        job: for it.
        threads: of OpenMP.
        variables: of its environment besides; see `fresh_process.clean_environment`.
        python: the interpreter.
        timeout: seconds after which an answer is given up and the process ended.
        waiting: called with the seconds waited so far, about every 4 s.

    Attributes:
        failure: why it answers no more, one line; None while it does.
        missing: a package that it lacks.
    """

    def __init__(
        self,
        module: str,
        job: Mapping[str, Any],
        *,
        threads: int,
        variables: Mapping[str, str] | None = None,
        python: str = sys.executable,
        timeout: float = 300.0,
        waiting: Callable[[float], None] | None = None,
    ):
        self.failure: str | None = None
        self.missing: str | None = None
        self.timeout, self.waiting = timeout, waiting
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (as long as the process)
        command = [python, "-W", "ignore", "-m", module, json.dumps(job)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            env=clean_environment(threads, variables),
        )  # fmt: skip

    def __enter__(self) -> "LivingProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, **request: Any) -> Answer:
        """The answer, or `{}` where there is none any more (see `failure` and `missing`)."""
        if self.failure or self.missing:
            return {}
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return self._fail()
        begin = time.monotonic()
        while not select.select([self._process.stdout], [], [], min(4.0, self.timeout + 0.1))[0]:
            waited = time.monotonic() - begin
            if waited > self.timeout:
                self.close()
                self.failure = f"no answer within {self.timeout:.0f} s"
                return {}
            if self.waiting:
                self.waiting(waited)
        line = self._process.stdout.readline()
        if not line:
            return self._fail()
        answer = json.loads(line)
        self.missing = answer.get("missing")
        self.failure = answer.get("failed")
        if self.missing or self.failure:
            self.close()
            return {}
        return answer

    def close(self) -> None:
        """Ends the process."""
        if not self._errors.closed:
            self._process.kill()
            self._process.communicate()
            self._errors.close()

    def _fail(self) -> Answer:
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        self.failure = lines[-1] if lines else f"exit status {status}"
        self.close()
        return {}


def serve(prepare: Callable[[dict[str, Any]], Callable[[dict[str, Any]], Answer]]) -> None:
    """The other side: prepares with the job when the first request comes, then answers each. Ends with its input.

    What libraries print goes to standard error. A failure is an answer, too: `missing`, or `failed` with one line.
    """
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    answer = None
    for line in sys.stdin:
        try:
            if answer is None:
                answer = prepare(json.loads(sys.argv[1]))
            found = answer(json.loads(line))
        except ModuleNotFoundError as error:
            found = {"missing": (error.name or str(error)).partition(".")[0]}
        except Exception as error:
            text = (str(error).strip().splitlines() or [""])[0]
            own = type(error).__module__ == "ppcore.errors"  # its message says all
            found = {"failed": (text if own else f"{type(error).__name__}: {text}")[:300]}
        out.write(json.dumps(found) + "\n")
        out.flush()
