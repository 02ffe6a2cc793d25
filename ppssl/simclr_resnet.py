"""SimCLR's residual networks: encoders without a classifier, which fine-tuning gives one."""

from typing import Literal

from paddle import nn
from paddle.vision.models import resnet

from ppcore.layers import Linear, checks, init

_BLOCKS = {18: resnet.BasicBlock, 50: resnet.BottleneckBlock}


class SimCLRResNet(resnet.ResNet):
    """`paddle.vision`'s residual network, whose classifier is called `head` and begins at 0, as SimCLR's does.

    An encoder's weights come in by `Global.pretrained` with `new_head: true`.

    Args:
        depth: 18 or 50 layers.
        num_classes: outputs; 0: the features, the mean over positions.
        small_images: a first convolution of 3x3 with stride 1, without the pooling after it (appendix B.9).

    Shape:
        [B, 3, H, W] -> [B, 512] (18 layers), [B, 2048] (50 layers), or [B, num_classes].
    """

    def __init__(self, *, depth: Literal[18, 50] = 50, num_classes: int = 0, small_images: bool = False):
        if depth not in _BLOCKS:
            checks.fail(self, "depth", depth, "18 or 50")
        checks.whole(self, 0, num_classes=num_classes)
        checks.flag(self, small_images=small_images)
        super().__init__(_BLOCKS[depth], depth, num_classes=0)
        self.num_classes = num_classes
        if small_images:
            self.conv1 = nn.Conv2D(3, 64, 3, padding=1, bias_attr=False)
            self.maxpool = nn.Identity()
        width = 512 * _BLOCKS[depth].expansion
        self.head = Linear(width, num_classes) if num_classes else nn.Identity()
        if num_classes and self.head.weight._is_initialized():
            init.reset(self.head.weight, init.Zeros())

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.head(self.avgpool(x).flatten(1))


def simclr_resnet50(**kwargs) -> SimCLRResNet:
    """ResNet-50. Keyword arguments are those of `SimCLRResNet`."""
    return SimCLRResNet(**{"depth": 50, **kwargs})


def cifar_resnet18(**kwargs) -> SimCLRResNet:
    """ResNet-18 for images of 32 pixels. Keyword arguments are those of `SimCLRResNet`."""
    return SimCLRResNet(**{"depth": 18, "small_images": True, **kwargs})
