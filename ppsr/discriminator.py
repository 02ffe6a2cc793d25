"""SRGAN's discriminator (Ledig et al., CVPR 2017, figure 4)."""

from paddle import nn

from ppcore.layers import checks, init
from ppcore.weights import WeightMap
from ppsr.sr_layouts import discriminator_maps
from ppsr.srresnet import conv

SLOPE = 0.2


class Discriminator(nn.Layer):
    """Eight 3x3 convolutions, every second of stride 2, with LeakyReLU and, but for the first, batch norm; two linear layers.

    Input: RGB, [B, 3, size, size]. Output: [B, 1], a logit: above 0, the image looks real. (The paper's sigmoid is in the
    loss.) 23,563,649 parameters.

    Args:
        width: channels of the first convolutions; the last have eight times as many.
        size: of the images, a multiple of 16.
        hidden: units between the linear layers.

    Raises:
        ConfigError: an argument out of its range.
    """

    def __init__(self, *, width: int = 64, size: int = 96, hidden: int = 1024):
        super().__init__()
        checks.whole(self, 1, width=width, hidden=hidden)
        checks.whole(self, 16, size=size)
        if size % 16:
            checks.fail(self, "size", size, "a multiple of 16")
        self.img_size = (size, size)
        layers = [conv(3, width, 3), nn.LeakyReLU(SLOPE)]
        inputs = width
        for place in range(1, 8):
            outputs = width << (place // 2)
            layers += [conv(inputs, outputs, 3, bias=False, stride=1 + place % 2), nn.BatchNorm2D(outputs)]
            layers += [nn.LeakyReLU(SLOPE)]
            inputs = outputs
        self.features = nn.Sequential(*layers)
        units = inputs * (size // 16) ** 2
        self.classifier = nn.Sequential(_linear(units, hidden), nn.LeakyReLU(SLOPE), _linear(hidden, 1))

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))

    def weight_maps(self) -> dict[str, WeightMap]:
        """The layout `lornatang` (`ppcore.weights`)."""
        return discriminator_maps()


def _linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(
        inputs, outputs, weight_attr=init.attr(init.UniformFanIn()), bias_attr=init.attr(init.UniformFanIn(inputs))
    )


def discriminator(**options) -> Discriminator:
    """The paper's, of images 96x96."""
    return Discriminator(**options)
