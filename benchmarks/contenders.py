"""One training step of the same network in three implementations.

A contender called with (model, batch, size) returns a function that runs forward, loss, backward and an AdamW update on
random images and waits for the result. `model` is one of benchmarks/train.yaml. Each is imported only in the process that
measures it.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

CLASSES = 1000


def data(batch: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images [B, 3, size, size] and labels [B], the same for everybody."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, 3, size, size)).astype(np.float32), rng.integers(0, CLASSES, batch)


def _paddle_step(model, batch: int, size: int) -> Callable[[], float]:
    import paddle
    import paddle.nn.functional as F

    model.train()
    optimizer = paddle.optimizer.AdamW(1e-3, parameters=model.parameters(), weight_decay=0.05)
    images, labels = data(batch, size)
    x, y = paddle.to_tensor(images), paddle.to_tensor(labels)

    def step() -> float:
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        return float(loss)

    return step


def ours(model: Mapping[str, Any], batch: int, size: int) -> Callable[[], float]:
    """This suite's."""
    from ppcore.config import components

    return _paddle_step(components.build({**model["arch"], "img_size": size, "num_classes": CLASSES}), batch, size)


def paddleclas(model: Mapping[str, Any], batch: int, size: int) -> Callable[[], float]:
    """PaddleClas's."""
    from benchmarks import paddleclas_alone

    network = paddleclas_alone.network(model["paddleclas"], {"img_size": size, "class_num": CLASSES})
    return _paddle_step(network, batch, size)


def torch(model: Mapping[str, Any], batch: int, size: int) -> Callable[[], float]:
    """timm's on torch, or transformers' ViT with torch's fused attention."""
    import torch as th

    th.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    network = _of_timm(model["timm"], size) if "timm" in model else _of_transformers(model["transformers"], size)
    optimizer = th.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05)
    images, labels = data(batch, size)
    x, y = th.from_numpy(images), th.from_numpy(labels)

    def step() -> float:
        answer = network(x)
        loss = th.nn.functional.cross_entropy(answer if "timm" in model else answer.logits, y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss)

    return step


def _of_timm(spec: Mapping[str, Any], size: int) -> Any:
    from benchmarks.timm_alone import timm

    rest = dict(spec)
    return timm().create_model(rest.pop("name"), pretrained=False, img_size=size, num_classes=CLASSES, **rest).train()


def _of_transformers(spec: Mapping[str, Any], size: int) -> Any:
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(ViTConfig(image_size=size, num_labels=CLASSES, **spec)).train()


CONTENDERS = {"ours": ours, "paddleclas": paddleclas, "torch": torch}
# Under which names a model of benchmarks/train.yaml says what a contender needs.
NAMES = {"ours": ("arch",), "paddleclas": ("paddleclas",), "torch": ("timm", "transformers")}
