"""ResNet-18 for images of 32 pixels, SimCLR's encoder on CIFAR-10 (appendix B.9)."""

from paddle import nn
from paddle.vision.models.resnet import BasicBlock, ResNet


def cifar_resnet18(*, num_classes: int = 0) -> nn.Layer:
    """ResNet-18 whose first convolution is 3x3 with stride 1, without the pooling after it.

    Args:
        num_classes: outputs; 0: the features after the mean over positions, [B, 512, 1, 1].
    """
    network = ResNet(BasicBlock, 18, num_classes=num_classes)
    network.conv1 = nn.Conv2D(3, 64, 3, padding=1, bias_attr=False)
    network.maxpool = nn.Identity()
    return network
