"""A toy self-distilling method: a student that sees small views learns from its own average that sees large ones."""

import math

import paddle
import paddle.nn.functional as F
from paddle import nn


class Embedding(nn.Layer):
    """[B, 3, H, W], any size -> [B, dim]."""

    def __init__(self, *, dim: int = 12):
        super().__init__()
        self.conv, self.head = nn.Conv2D(3, 16, 3, padding=1), nn.Linear(32, dim)

    def forward_features(self, x):
        x = F.relu(self.conv(x))
        return paddle.concat([x.mean(axis=[2, 3]), x.max(axis=[2, 3])], axis=1)

    def forward(self, x):
        return self.head(self.forward_features(x))


class SelfDistillation:
    """Student, teacher (its moving average: the network of `Arch`, which is evaluated) and a centre that is remembered."""

    def __init__(self, *, run, momentum: float = 0.9, temperature: float = 0.1):
        self.run, self.momentum, self.temperature = run, momentum, temperature
        self.model, student = run.model, run.network()
        student.set_state_dict(self.model.state_dict())
        for p in self.model.parameters():
            p.stop_gradient = True
        self.networks = nn.LayerDict({"teacher": self.model, "student": student})
        self.networks.register_buffer("centre", paddle.zeros([1, run.config.Arch["dim"]]))
        self.seen = None

    def optimizers(self):
        return {"model": self.run.optimizer(self.networks["student"])}

    def losses(self, batch, step):
        large, small = (batch[name].flatten(0, 1) for name in ("large", "small"))  # [B, views, C, H, W]
        with paddle.no_grad():
            taught = self.run.forward(self.model, large)
            self.seen = taught.mean(axis=0, keepdim=True)
        target = F.softmax((taught - self.networks.centre) / self.temperature)
        views = large.shape[0] // batch["large"].shape[0], small.shape[0] // batch["small"].shape[0]
        target = target.reshape([-1, views[0], target.shape[-1]]).mean(axis=1).repeat_interleave(views[1], axis=0)
        guessed = F.log_softmax(self.run.forward(self.networks["student"], small))
        yield (
            "model",
            -(target * guessed).sum(axis=-1).mean(),
            {"entropy": -(target * target.log()).sum(axis=-1).mean()},
        )

    @paddle.no_grad()
    def after_update(self, step):
        momentum = 1 - (1 - self.momentum) * (1 + math.cos(math.pi * step / self.run.plan.total_steps)) / 2
        for own, student in zip(self.model.parameters(), self.networks["student"].parameters(), strict=True):
            paddle.assign(own * momentum + student * (1 - momentum), output=own)
        seen = paddle.to_tensor(self.run.world.sum(self.seen.numpy().astype("float64")) / self.run.world.size)
        paddle.assign(self.networks.centre * 0.9 + seen.astype("float32") * 0.1, output=self.networks.centre)

    def evaluators(self):
        return self.run.evaluators()
