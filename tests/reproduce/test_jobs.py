"""Jobs side by side: who waits for whom, what the console says, and what happens when one fails or is interrupted."""

import os
import signal
import subprocess
import sys
import time

import pytest

from ppcore.engine import records
from ppcore.metrics.spec import MetricSpec
from ppcore.reproduce.jobs import Job, run_all
from ppcore.reproduce.launch import StepFailed
from ppcore.reproduce.progress import Progress

# Stands in for a training: says when it began and ended, and writes a metrics.jsonl.
BODY = """
import os, pathlib, sys, time
records, folder, seconds, status = sys.argv[1], pathlib.Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
folder.mkdir(parents=True, exist_ok=True)
(folder / "began").write_text(repr(time.monotonic()))
print("hello from", folder.name, os.environ.get("OMP_NUM_THREADS"), flush=True)
with (folder / "metrics.jsonl").open("a") as file:
    file.write(records)
time.sleep(seconds)
(folder / "ended").write_text(repr(time.monotonic()))
print("the last words", file=sys.stderr, flush=True)
sys.exit(status)
"""


def record(kind: str, step: int, time: float, **changes) -> str:
    """A line of metrics.jsonl."""
    epoch = {} if kind == "start" else {"epoch": step / 10}
    return records.encode(kind, step=step, time=time, **epoch, **changes) + "\n"


def start(step: int, time: float, steps: int, **changes) -> str:
    about = {"params": 1, "epochs": 1.0, "batch_size": 1, "train_images": 1, "eval_images": 1, "protocol": "p"}
    spec = MetricSpec("top1", "Top-1", "top-1 accuracy", "%", factor=100, digits=2)
    return record("start", step, time, steps=steps, **{"metrics": [spec], **about, **changes})


def train(step: int, time: float, loss: float, **changes) -> str:
    return record("train", step, time, loss=loss, lr=0.1, **changes)


def evaluation(step: int, time: float, **changes) -> str:
    return record("eval", step, time, n=1, seconds=1.0, **changes)


RECORDS = "".join(
    [
        start(0, 0.0, 100),
        train(20, 10.0, 1.5, images_per_second=640.0),
        evaluation(20, 10.0, weights="model", top1=0.5),
        evaluation(20, 10.0, weights="ema", top1=0.75),
    ]
)


@pytest.fixture
def job(tmp_path):
    def make(name: str, *, seconds: float = 0.0, status: int = 0, **changes) -> Job:
        folder = tmp_path / name
        command = [sys.executable, "-c", BODY, RECORDS, str(folder), str(seconds), str(status)]
        log = tmp_path / "logs" / f"{name}.txt"
        return Job(**{"name": name, "command": command, "folder": folder, "log": log, "cores": 1} | changes)

    return make


def times(job: Job) -> tuple[float, float]:
    return tuple(float((job.folder / name).read_text()) for name in ("began", "ended"))


def together(first: Job, second: Job) -> bool:
    (begin, end), (begin2, end2) = times(first), times(second)
    return begin < end2 and begin2 < end


@pytest.fixture
def said(monkeypatch):
    """The lines of the console."""
    lines = []
    monkeypatch.setattr("ppcore.reproduce.jobs.log.info", lambda text, *args: lines.append(text % args))
    monkeypatch.setattr("ppcore.reproduce.jobs.log.error", lambda text, *args: lines.append(text % args))
    return lines


def test_jobs_share_the_cores(job):
    """Two of one core each beside each other, the third when one of them has ended."""
    jobs = [job(name, seconds=0.7) for name in ("a", "b", "c")]
    run_all(jobs, cores=2)
    assert together(jobs[0], jobs[1])
    assert times(jobs[2])[0] > min(times(jobs[0])[1], times(jobs[1])[1])


def test_a_job_of_two_cores_fills_two(job):
    jobs = [job("a", seconds=0.4), job("b", seconds=0.2, cores=2), job("c", seconds=0.2)]
    run_all(jobs, cores=2)
    assert not together(jobs[0], jobs[1])
    assert not together(jobs[1], jobs[2])


def test_a_job_without_cores_has_the_machine_for_itself_in_its_turn(job):
    jobs = [job("a", seconds=0.4), job("alone", seconds=0.4, cores=None), job("c", seconds=0.1)]
    run_all(jobs, cores=8)
    assert times(jobs[1])[0] > times(jobs[0])[1]
    assert times(jobs[2])[0] > times(jobs[1])[1]


def test_a_job_waits_for_the_one_it_uses_and_others_pass_it(job):
    jobs = [job("teacher", seconds=0.6), job("student", after=("teacher",)), job("plain", seconds=0.1)]
    run_all(jobs, cores=2)
    assert times(jobs[1])[0] > times(jobs[0])[1]
    assert together(jobs[0], jobs[2])


def test_a_kept_job_is_not_started_and_counts_as_done(job, said):
    jobs = [job("teacher", kept=True), job("student", after=("teacher",))]
    run_all(jobs, cores=1)
    assert not jobs[0].folder.exists()
    assert times(jobs[1])
    assert said[0].startswith("[1/2] teacher  kept: ")
    assert "(2 of 2 done)" in said[-1]


def test_nothing_to_do(job):
    run_all([], cores=2)
    run_all([job("a", kept=True)], cores=2)


def test_a_wait_for_nobody_is_an_error_not_a_hang(job):
    with pytest.raises(ValueError, match="'a' waits for 'b', which is not among the jobs"):
        run_all([job("a", after=("b",))], cores=1)
    with pytest.raises(ValueError, match="cycle"):
        run_all([job("a", after=("b",)), job("b", after=("a",))], cores=1)


def test_every_job_has_a_log_of_its_own_and_its_variables(job, tmp_path):
    jobs = [job(name, environment={"OMP_NUM_THREADS": "1"}) for name in ("a", "b")]
    run_all(jobs, cores=2)
    for item in jobs:
        first, *rest = item.log.read_text().splitlines()
        assert first.startswith(f"$ OMP_NUM_THREADS=1 {sys.executable} -c ")
        assert rest[-2:] == [f"hello from {item.name} 1", "the last words"]


def test_the_console_shows_where_every_job_is(job, said):
    run_all([job("a", seconds=1.3), job("longer name")], cores=2, every=0.4)
    assert said[0].startswith("[1/2] a            started, log ")
    assert said[1].startswith("[2/2] longer name  started, log ")
    progress = [line for line in said if "step" in line]
    # 20 of 100 steps took 10 s, so 80 take 40; said once, not again while nothing is new
    assert progress == ["[1/2] a            step  20/100  loss 1.5000  640 images/s  eta 0:00:40"]
    assert said[-1].startswith("[1/2] a            finished in 0:00:01, top1 0.7500 (2 of 2 done)")


def test_jobs_that_end_do_not_silence_the_others(job, said):
    run_all([job("long", seconds=1.5), *(job(f"short{i}", seconds=0.3) for i in range(4))], cores=2, every=0.6)
    shown = next(number for number, line in enumerate(said) if "long" in line and "step" in line)
    assert "short3" in " ".join(line for line in said[shown:] if "finished" in line)


def test_a_failure_stops_the_rest_and_says_how_to_repeat_it(job, said):
    jobs = [job("long", seconds=60), job("bad", seconds=0.3, status=3), job("never")]
    began = time.monotonic()
    with pytest.raises(StepFailed) as error:
        run_all(jobs, cores=2)
    assert time.monotonic() - began < 8
    assert (jobs[0].folder / "began").exists()
    assert not (jobs[0].folder / "ended").exists()
    assert not jobs[2].folder.exists()
    message = str(error.value)
    assert "\n" not in message.partition("repeat it with")[0]
    assert "bad failed (exit status 3); the 1 beside it stopped" in message
    assert str(jobs[1].log) in message
    assert message.endswith(f"{jobs[1].folder} 0.3 3")
    shown = next(line for line in said if "the last lines of" in line)
    assert shown.splitlines()[-1] == "    the last words"
    assert "hello from bad" in shown


def test_a_killed_job_is_named_by_its_signal(job):
    kill = job("killed", command=[sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
    with pytest.raises(StepFailed, match="signal SIGKILL"):
        run_all([kill], cores=1)


PARENT = """
import sys
from pathlib import Path
from ppcore.engine import records
from ppcore.metrics.spec import MetricSpec
from ppcore.reproduce.jobs import Job, run_all
folder = Path(sys.argv[1])
child = "import os, pathlib, subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); " \\
        "pathlib.Path(sys.argv[1]).write_text(f'{os.getpid()} {p.pid}'); time.sleep(60)"
run_all([Job("a", [sys.executable, "-c", child, str(folder / "pids")], folder, folder / "log.txt", cores=1)], cores=1)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_parent_leaves_no_process_behind(tmp_path, root, number):
    environment = {**os.environ, "PYTHONPATH": str(root)}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        env=environment,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: (
            [signal.signal(n, signal.SIG_DFL) for n in (signal.SIGHUP, signal.SIGTERM)]
            and signal.signal(signal.SIGINT, signal.default_int_handler)
        ),
    )
    pids = tmp_path / "pids"
    until = time.monotonic() + 60
    while not (pids.exists() and pids.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    parent.send_signal(number)
    assert parent.wait(timeout=30) != 0
    for pid in map(int, pids.read_text().split()):
        assert _gone(pid), pid


def _gone(pid: int, patience: float = 5.0) -> bool:
    """Whether a process has ended (a zombie that nobody reaps has)."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


class TestProgress:
    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "metrics.jsonl"

    def write(self, path, *lines):
        with path.open("a") as file:
            file.write("".join(lines))

    def test_a_run_that_nothing_evaluates_has_no_result(self, path):
        progress = Progress(path.parent)
        self.write(path, start(0, 0.0, 50, metrics=[]), train(50, 105.0, 0.5))
        assert progress.read() == "step 50/50  loss 0.5000"
        assert progress.result() == ""

    def test_only_what_is_new_counts(self, path):
        self.write(path, start(0, 0.0, 50))
        progress = Progress(path.parent)
        assert progress.read() == "starting"
        self.write(path, start(20, 100.0, 50))
        assert progress.read() == "step 20/50"
        # Resumed at 20: ten steps took five seconds, the other twenty take ten.
        self.write(path, train(30, 105.0, 0.5))
        assert progress.read() == "step 30/50  loss 0.5000  eta 0:00:10"

    def test_no_time_left_is_told_that_is_none(self, path):
        progress = Progress(path.parent)
        self.write(path, start(0, 100.0, 50))
        self.write(path, train(49, 105.0, 0.5))
        assert progress.read() == "step 49/50  loss 0.5000  eta 0:00:01"
        self.write(path, train(50, 105.1, 0.4, images_per_second=20.0))
        assert progress.read() == "step 50/50  loss 0.4000  20 images/s"

    def test_a_line_being_written_waits_and_a_cut_one_is_passed_over(self, path):
        progress = Progress(path.parent)
        self.write(path, start(0, 0.0, 50), '{"kind": "tr')
        assert progress.read() == "step 0/50"
        self.write(path, "\n", train(10, 1.0, 2.0))
        assert progress.read().startswith("step 10/50")

    def test_a_replaced_file_is_read_from_its_beginning(self, path):
        self.write(path, start(0, 0.0, 50))
        progress = Progress(path.parent)
        path.replace(path.parent / "metrics.abandoned.jsonl")
        self.write(path, start(0, 0.0, 60), train(6, 1.0, 1.0))
        assert progress.read() == "step  6/60  loss 1.0000  eta 0:00:09"
