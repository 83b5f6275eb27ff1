"""A small learned score of how good a triple is: features, training, a filter.

`features` turns a triple into numbers, `train` fits weights to labels, `model` is what is stored
and applied, `scorer` is the filter. No weights are shipped: what is good is the annotator's to say.
"""

from codeflow_filters.quality.scorer import Quality
from codeflow_filters.quality.train import Trained, train

__all__ = ["Quality", "Trained", "train"]
