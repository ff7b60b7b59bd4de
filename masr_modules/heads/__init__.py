"""What is trained on the pooled embedding beside the SSL loss: one block of the YAML.

Swapping the block swaps the experiment: MASRHead for the losses on pairs of one label column,
MultiLabelHead for several, ClassifierHead for plain cross-entropy on the same labels,
RegressionHead for cross-entropy beside regression onto what is known of a label.
"""

from masr_modules.heads.classifier import ClassifierHead
from masr_modules.heads.masr import MASRHead
from masr_modules.heads.multi_label import MultiLabelHead
from masr_modules.heads.projection import Projection
from masr_modules.heads.regression import RegressionHead
from masr_modules.heads.spaces import Spaces

__all__ = ["ClassifierHead", "MASRHead", "MultiLabelHead", "Projection", "RegressionHead", "Spaces"]
