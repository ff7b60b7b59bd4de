"""What is trained on the pooled embedding beside the SSL loss: one block of the YAML.

Swapping the block swaps the experiment: MASRHead for the losses on pairs of one label column,
MultiLabelHead for several, ClassifierHead for plain cross-entropy on the same labels.
"""

from masr_modules.heads.classifier import ClassifierHead
from masr_modules.heads.masr import MASRHead
from masr_modules.heads.multi_label import MultiLabelHead
from masr_modules.heads.projection import Projection

__all__ = ["ClassifierHead", "MASRHead", "MultiLabelHead", "Projection"]
