"""Evaluation metrics. A metric adds up `sums`, so processes are merged by adding, exactly.

`specs` says what its numbers are; `primary_metric` is the key of the one that chooses the best checkpoint; `describe()`
names the conventions of the numbers in one line, or gives None where the arguments say all.
"""

from ppcore.metrics.image_quality import ImageQuality
from ppcore.metrics.knn import WeightedKNN
from ppcore.metrics.spec import MetricSpec
from ppcore.metrics.topk import TopK

__all__ = ["ImageQuality", "MetricSpec", "TopK", "WeightedKNN"]
