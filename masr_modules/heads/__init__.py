"""Heads: losses on pooled frames that are trained beside the SSL loss, one block of the YAML.

The block decides the experiment: MASRHead for a loss on pairs of one label column, MultiLabelHead
for several columns, ClassifierHead for plain cross-entropy on the same labels, RegressionHead for
cross-entropy together with regression onto a vector that the knowledge gives each label.
"""

from masr_modules.heads.classifier import ClassifierHead
from masr_modules.heads.masr import MASRHead
from masr_modules.heads.multi_label import MultiLabelHead
from masr_modules.heads.projection import Projection
from masr_modules.heads.regression import RegressionHead
from masr_modules.heads.spaces import Spaces

__all__ = ["ClassifierHead", "MASRHead", "MultiLabelHead", "Projection", "RegressionHead", "Spaces"]
