"""A package that the suite has never heard of: pictures of discs, two methods on them, and a way to measure."""

from toyland.adversarial import Adversarial, Brighten, Critic
from toyland.discs import Discs
from toyland.neighbours import NearestNeighbours
from toyland.self_distillation import Embedding, SelfDistillation

__all__ = ["Adversarial", "Brighten", "Critic", "Discs", "Embedding", "NearestNeighbours", "SelfDistillation"]
