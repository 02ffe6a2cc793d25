"""A toy adversarial method: a network that brightens, a critic that tells its pictures from light ones, in turn."""

import paddle.nn.functional as F
from paddle import nn


class Brighten(nn.Layer):
    """[B, 3, H, W] in [0, 1] -> the same, any size."""

    makes_images = True

    def __init__(self, *, width: int = 8):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2D(3, width, 3, padding=1), nn.BatchNorm2D(width), nn.ReLU(), nn.Conv2D(width, 3, 3, padding=1)
        )

    def forward(self, x):
        return F.sigmoid(self.body(x) + 3 * x)


class Critic(nn.Layer):
    """[B, 3, H, W] -> [B], how real a picture looks."""

    def __init__(self, *, width: int = 8):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2D(3, width, 3, stride=2), nn.LeakyReLU(0.2), nn.Conv2D(width, 1, 3))

    def forward(self, x):
        return self.body(x).mean(axis=[1, 2, 3])


class Adversarial:
    """The generator of `Arch` and a critic, each with an optimizer of its own, taking turns in every step."""

    def __init__(self, *, run, critic: nn.Layer, weight: float = 0.01):
        self.run, self.model, self.critic, self.weight = run, run.model, critic, weight
        self.networks = nn.LayerDict({"generator": self.model, "critic": critic})

    def optimizers(self):
        return {
            "generator": self.run.optimizer(self.model, "generator"),
            "critic": self.run.optimizer(self.critic, "critic"),
        }

    def losses(self, batch, step):
        made = self.run.forward(self.model, batch["image"])
        distance = F.l1_loss(made, batch["target"])
        yield "generator", distance - self.weight * self.run.forward(self.critic, made).mean(), {"distance": distance}
        real, fake = self.run.forward(self.critic, batch["target"]), self.run.forward(self.critic, made.detach())
        yield "critic", F.relu(1 - real).mean() + F.relu(1 + fake).mean(), {"real": real.mean(), "fake": fake.mean()}

    def after_update(self, step):
        pass

    def evaluators(self):
        return self.run.evaluators()
