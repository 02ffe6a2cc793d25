"""One training step of the same ViT in three implementations.

A contender called with (batch, size, arch) returns a function that runs forward, loss, backward and an AdamW update on
random images and waits for the result. Each is imported only in the process that measures it.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ppcore.config import components

WIDTH, DEPTH, HEADS, CLASSES = 192, 12, 3, 1000


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


def ours(batch: int, size: int, arch: str) -> Callable[[], float]:
    """This suite's model, by the name the caller gives."""
    model = components.build({"name": arch, "img_size": size, "num_classes": CLASSES})
    return _paddle_step(model, batch, size)


def paddleclas(batch: int, size: int, arch: str) -> Callable[[], float]:
    """PaddleClas's ViT. Its package imports what training a model does not need; its `ppcls` does not."""
    found = importlib.util.find_spec("paddleclas")
    if found is None:
        raise ModuleNotFoundError("No module named 'paddleclas'")
    sys.path.insert(0, str(Path(found.origin).parent))
    zoo = importlib.import_module("ppcls.arch.backbone.model_zoo.vision_transformer")
    model = zoo.VisionTransformer(
        img_size=size, patch_size=16, class_num=CLASSES, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS,
        mlp_ratio=4, qkv_bias=True, epsilon=1e-6,
    )  # fmt: skip
    return _paddle_step(model, batch, size)


def torch(batch: int, size: int, arch: str) -> Callable[[], float]:
    """transformers' ViT on torch, with torch's fused attention."""
    import os

    import torch as th
    from transformers import ViTConfig, ViTForImageClassification

    th.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    config = ViTConfig(
        hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS, intermediate_size=4 * WIDTH,
        image_size=size, num_labels=CLASSES, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model = ViTForImageClassification(config).train()
    optimizer = th.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    images, labels = data(batch, size)
    x, y = th.from_numpy(images), th.from_numpy(labels)

    def step() -> float:
        loss = th.nn.functional.cross_entropy(model(pixel_values=x).logits, y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss)

    return step


CONTENDERS = {"ours": ours, "paddleclas": paddleclas, "torch": torch}
