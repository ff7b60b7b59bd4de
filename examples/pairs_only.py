#!/usr/bin/env python3
"""Uses the MASR loss in a training loop of your own, on embeddings and a table of metadata.

> python examples/pairs_only.py

It needs neither SpeechBrain nor the recipes: any model that gives one embedding for each utterance
will do.
"""

import torch

from masr_modules.data.metadata import MetadataTable
from masr_modules.knowledge import Categorical, LanguageDistance
from masr_modules.pairwise.losses import MASRLoss
from masr_modules.pairwise.similarity import combine

torch.manual_seed(0)

# Metadata of each utterance; an empty cell means "not known".
rows = {
    f"utterance{i}": {
        "language": ("spa", "cat", "deu", "nld")[i % 4],
        "speaker": ("a", "b", "")[i % 3],
    }
    for i in range(32)
}
features = torch.randn(32, 40)  # stands for your audio

model = torch.nn.Linear(40, 16)  # stands for your encoder
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

table = MetadataTable(rows)
sources = [LanguageDistance("language", metadata=table), Categorical("speaker", metadata=table)]
loss = MASRLoss(mining="knowledge", knowledge_weight=0.5, margin=0.5)

for step in range(50):
    ids = list(rows)  # IDs of the batch, in the order of its embeddings
    embeddings = model(features)  # (B, D)
    output = loss(embeddings, combine(sources, table(ids), identity="language"))
    optimizer.zero_grad()
    output.loss.backward()
    optimizer.step()
    if step % 10 == 9:
        print(f"step {step + 1}: loss {output.loss.item():.3f}")
