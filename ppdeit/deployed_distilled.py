"""Distilled models as they are deployed: both heads are one product."""

import numpy as np
import paddle.nn as nn

from ppcore.deploy import ExportSpec
from ppcore.deploy.export_spec import as_it_is
from ppcore.deploy.transformer import Product, arrays
from ppdeit.deit import DistilledVisionTransformer
from ppvit.deployed_vit import folded

SHARES = {
    "mean": (0.5, 0.5),
    "class": (1.0, 0.0),
    "distillation": (0.0, 1.0),
}  # of each head in what evaluation returns


class DistilledHead(nn.Layer):
    """Class and distillation token [B, 2, D] -> logits as `eval_head` says, [B, num_classes]."""

    def __init__(self, model: DistilledVisionTransformer):
        super().__init__()
        first, second = SHARES[model.eval_head]
        if model.num_classes:
            (weight, bias), (other, shift) = arrays(model.head), arrays(model.head_dist)
        else:
            weight = other = np.eye(model.embed_dim)
            bias = shift = np.zeros(model.embed_dim)
        self.product = Product(np.concatenate([weight * first, other * second]), bias * first + shift * second)

    def forward(self, tokens):
        return self.product(tokens.flatten(1))


def export_spec(model: DistilledVisionTransformer) -> ExportSpec:
    """The deployed form of a distilled model with its present weights; of a class that computes something else, as it is."""
    kind, plain = type(model), DistilledVisionTransformer
    same = (
        kind.forward is plain.forward
        and kind.forward_head is plain.forward_head
        and kind.forward_heads is plain.forward_heads
    )
    return folded(model, DistilledHead(model)) if same else as_it_is(model)
