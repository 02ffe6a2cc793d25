"""Training batches from JPEG files in one implementation: `python -m benchmarks.input_contenders JOB`, a fresh process each time."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.fresh_process import answer


def ours(job: dict[str, Any]) -> tuple[Callable[[], Any], Callable[[], None]]:
    """The configuration's loader and the feed of the training loop: what gives the next batch, and what ends it."""
    from ppcore import runtime

    runtime.configure(job["threads"])
    from ppcore import config
    from ppcore.engine import build
    from ppcore.engine.distributed import World
    from ppcore.engine.feed import Feed

    given = {"dataset.root": job["root"], "batch_size": job["batch"], "num_workers": job["workers"]}
    settings = config.load([job["config"]], [f"DataLoader.Train.{key}={value}" for key, value in given.items()])
    images = build.dataset(build.section(settings, "Train"), None)
    steps = job["warmup"] + job["batches"] + 100  # more than are taken: no batch at the end is cheaper
    beside = build.beside(settings, images, None)
    loader = build.train_loader(settings, images, beside, World(0, 1, "cpu"), 0, steps, settings.Arch["num_classes"])
    feed = Feed(loader, "cpu")
    return lambda: next(feed)["image"], feed.close


def peer(job: dict[str, Any]) -> tuple[Callable[[], Any], Callable[[], None]]:
    """A torch DataLoader on Pillow, the same steps with random parameters drawn alike; Mixup on the batch in torch."""
    import torch
    from torch.utils.data import DataLoader, Dataset

    from benchmarks import augment
    from ppcore import config
    from ppcore.engine import build

    torch.set_num_threads(job["threads"])
    settings = config.load([job["config"]], [f"DataLoader.Train.dataset.root={job['root']}"])
    steps = build.section(settings, "Train").transforms
    names = {"crop": "crop", "flip": "flip", "randaugment": "augment", "normalize": "normalize", "erase": "erase"}
    both, built = augment.pipelines({stage: steps[name] for name, stage in names.items()})
    images = build.dataset(build.section(settings, "Train"), None)
    files = [images.paths[number] for number in range(len(images))]
    classes = settings.Arch["num_classes"]
    spent, rng = np.zeros(len(augment.STAGES)), np.random.default_rng(0)

    class Samples(Dataset):
        def __len__(self) -> int:
            return (job["warmup"] + job["batches"] + 20) * job["batch"]

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            with open(files[index % len(files)], "rb") as file:
                image = augment.run_once(both["pillow"], built, file.read(), index, spent)
            return torch.from_numpy(image), int(images.labels[index % len(files)])

    loader = DataLoader(Samples(), batch_size=job["batch"], num_workers=job["workers"])
    batches: Iterator = iter(loader)

    def step() -> torch.Tensor:
        x, labels = next(batches)
        lam = float(rng.beta(0.8, 0.8))
        target = torch.nn.functional.one_hot(labels, classes).float() * 0.9 + 0.1 / classes
        target.mul_(lam).add_(target.flip(0), alpha=1 - lam)
        return x.mul_(lam).add_(x.flip(0), alpha=1 - lam)

    return step, lambda: None


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """After `warmup` batches, `batches` more: images/s, and milliseconds of CPU a batch.

    Returns:
        `images_per_second`; `loop_ms` of the thread that asks, which a training step waits for; `process_ms` of all threads of
        this process; `shape` of the images.
    """
    step, close = {"ours": ours, "peer": peer}[job["kind"]](job)
    try:
        for _ in range(job["warmup"]):
            step()
        begin, thread, process = time.perf_counter(), time.thread_time(), time.process_time()
        for _ in range(job["batches"]):
            images = step()
        seconds = time.perf_counter() - begin
        loop, whole = time.thread_time() - thread, time.process_time() - process
    finally:
        close()
    return {
        "images_per_second": job["batches"] * job["batch"] / seconds, "loop_ms": 1e3 * loop / job["batches"],
        "process_ms": 1e3 * whole / job["batches"], "shape": list(images.shape),
    }  # fmt: skip


if __name__ == "__main__":
    answer(measure)
