"""How well frozen embeddings tell languages, families and speakers apart."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from speechbrain.dataio.batch import PaddedBatch
from torch.utils.data import DataLoader
from tqdm import tqdm

from masr_modules.data.dataio import length_sorted_batches, make_dataset
from masr_modules.encoders.pooling import MeanPooling
from masr_modules.metrics.detection import equal_error_rate

NEIGHBOURS = 10
PROBE_STRENGTHS = (0.003, 0.03, 0.3)


@dataclass
class Split:
    """Embeddings of N utterances with their labels ("" where not known).

    Arguments
    ---------
    layers : np.ndarray
        (layers, N, D).
    label, family, speaker, gender : np.ndarray
        (N,) str; `label` is the language, or what else the neighbours and probes shall tell.
    """

    layers: np.ndarray
    label: np.ndarray
    family: np.ndarray
    speaker: np.ndarray
    gender: np.ndarray

    @classmethod
    def of(cls, layers: np.ndarray, rows: dict[str, dict], label: str = "language") -> "Split":
        """Joins embeddings, in the order of the rows, with the rows' labels.

        The family stays empty where the label is not the language.
        """
        family = "family" if label == "language" else None
        labels = (
            np.array([row[column] if column else "" for row in rows.values()])
            for column in (label, family, "speaker", "gender")
        )
        return cls(layers, *labels)

    def at(self, layer: int, keep: np.ndarray | None = None) -> "Split":
        """One layer (negative counts from the last), of some of the utterances."""
        layers = self.layers[[layer]]
        if keep is None:
            keep = np.ones(layers.shape[1], dtype=bool)
        labels = (self.label, self.family, self.speaker, self.gender)
        return Split(layers[:, keep], *(values[keep] for values in labels))

    @property
    def embeddings(self) -> np.ndarray:
        """(N, D) of the only layer left by `at`."""
        (embeddings,) = self.layers
        return embeddings


@torch.no_grad()
def embed(
    encode,
    rows: dict[str, dict],
    sample_rate: int,
    device: str = "cpu",
    max_seconds: float = 20.0,
    max_batch_seconds: float = 120.0,
    pool=None,
    progressbar: bool = False,
) -> np.ndarray:
    """Mean-pooled embeddings of all layers.

    Arguments
    ---------
    encode : callable
        (wavs, wav_lens) -> (list of (B, F, D), (B,) frame_lens), as SSLObjective.encode.
    rows : dict
        From load_csv.
    sample_rate : int
        Hz.
    device : str
        Where `encode` runs.
    max_seconds : float
        Longer utterances are cropped.
    max_batch_seconds : float
        Budget of a batch.
    pool : callable, optional
        (frames, frame_lens) -> (B, D); MeanPooling by default.
    progressbar : bool
        Whether to show one.

    Returns
    -------
    np.ndarray
        (layers, N, D) float32, in the order of the rows.
    """
    pool = pool or MeanPooling()
    batches = length_sorted_batches(
        {i: {"duration": min(r["duration"], max_seconds)} for i, r in rows.items()},
        max_batch_seconds,
    )
    loader = DataLoader(
        make_dataset(rows, sample_rate, max_seconds),
        batch_sampler=batches,
        collate_fn=PaddedBatch,
    )
    parts = []
    for batch in tqdm(loader, "embedding", disable=not progressbar, leave=False):
        wavs, lens = batch.sig
        layers, frame_lens = encode(wavs.to(device), lens.to(device))
        parts.append(torch.stack([pool(frames, frame_lens).cpu() for frames in layers]))
    order = torch.tensor([index for batch in batches for index in batch])
    return torch.cat(parts, dim=1)[:, order.argsort()].numpy()


def knn_accuracy(train: Split, test: Split) -> float:
    """Macro accuracy of the label by nearest neighbours.

    Arguments
    ---------
    train, test : Split
        Of one layer.

    Returns
    -------
    float
        Mean over labels of the share of utterances named right.

    Example
    -------
    >>> x = np.array([[[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]]])
    >>> labels = np.array(["a", "a", "b", "b"])
    >>> split = Split(x, labels, labels, labels, labels)
    >>> knn_accuracy(split, split)
    1.0
    """
    train, test = _labelled(train), _labelled(test)
    return _balanced(test.label, _nearest(*_standardised(train, test), train.label))


def choose_layer(train: Split, valid: Split) -> int:
    """The layer with the best kNN accuracy on the validation set."""
    layers = range(len(train.layers))
    return max(layers, key=lambda layer: knn_accuracy(train.at(layer), valid.at(layer)))


def evaluate(train: Split, valid: Split, test: Split) -> dict[str, float]:
    """Every metric of the results table, of the layer that is best on `valid`.

    Arguments
    ---------
    train, valid, test : Split
        All layers. Neighbours and probes learn from `train`; the layer and the
        probe's strength are chosen on `valid`.

    Returns
    -------
    dict[str, float]
        layer; valid_knn (the language, on `valid`: to choose between systems); knn, linear,
        family, within_family, gender (accuracies in [0, 1], macro, on `test`) and
        speaker_eer in [0, 1].
    """
    layer = choose_layer(train, valid)
    valid_knn = knn_accuracy(train.at(layer), valid.at(layer))
    train, valid, test = (_labelled(split.at(layer)) for split in (train, valid, test))
    x_train, x_test = _standardised(train, test)
    predicted = _nearest(x_train, x_test, train.label)
    family_of = dict(zip(train.label, train.family, strict=True))
    families = np.array([family_of[label] for label in predicted])
    return {
        "layer": layer,
        "valid_knn": valid_knn,
        "knn": _balanced(test.label, predicted),
        "linear": linear_probe(train, valid, test),
        "family": _balanced(test.family, families),
        "within_family": within_family_accuracy(train, test),
        "gender": gender_accuracy(train, test),
        "speaker_eer": speaker_eer(train, test),
    }


def linear_probe(train: Split, valid: Split, test: Split) -> float:
    """Macro accuracy of logistic regression, its strength chosen on `valid`."""
    if len(set(train.label)) < 2:
        return float("nan")
    scaler = StandardScaler().fit(train.embeddings)
    x_train, x_valid, x_test = (scaler.transform(s.embeddings) for s in (train, valid, test))
    best, best_accuracy = None, -1.0
    for strength in PROBE_STRENGTHS:
        probe = LogisticRegression(C=strength, max_iter=300).fit(x_train, train.label)
        accuracy = _balanced(valid.label, probe.predict(x_valid))
        if accuracy > best_accuracy:
            best, best_accuracy = probe, accuracy
    return _balanced(test.label, best.predict(x_test))


def within_family_accuracy(train: Split, test: Split) -> float:
    """Macro accuracy when the family is given: neighbours of that family alone.

    Over families of two languages or more: how well close relatives come apart.
    """
    truth, predicted = [], []
    x_train, x_test = _standardised(train, test)
    for family in sorted(set(test.family) - {""}):
        near, asked = train.family == family, test.family == family
        if len(set(train.label[near])) < 2:
            continue
        truth.append(test.label[asked])
        predicted.append(_nearest(x_train[near], x_test[asked], train.label[near]))
    if not truth:
        return float("nan")
    return _balanced(np.concatenate(truth), np.concatenate(predicted))


def gender_accuracy(train: Split, test: Split) -> float:
    """Macro accuracy of the gender by nearest neighbours, where it is known."""
    train, test = (s.at(0, s.gender != "") for s in (train, test))
    if len(set(train.gender)) < 2 or not len(test.gender):
        return float("nan")
    return _balanced(test.gender, _nearest(*_standardised(train, test), train.gender))


def speaker_eer(train: Split, test: Split) -> float:
    """Equal error rate over all pairs of test utterances with known speakers, by cosine.

    Embeddings are standardised with the training set's statistics. O(N^2 log N).
    """
    known = test.speaker != ""
    x = _unit(_standardised(train, test)[1][known])
    i, j = np.triu_indices(len(x), k=1)
    same = test.speaker[known][i] == test.speaker[known][j]
    return equal_error_rate((x @ x.T)[i, j], same)


def _labelled(split: Split) -> Split:
    return split.at(0, split.label != "")


def _standardised(train: Split, test: Split) -> tuple[np.ndarray, np.ndarray]:
    scaler = StandardScaler().fit(train.embeddings)
    return scaler.transform(train.embeddings), scaler.transform(test.embeddings)


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _nearest(x_train: np.ndarray, x_test: np.ndarray, labels: np.ndarray) -> np.ndarray:
    neighbours = min(NEIGHBOURS, len(x_train))
    knn = KNeighborsClassifier(neighbours, weights="distance").fit(_unit(x_train), labels)
    return knn.predict(_unit(x_test))


def _balanced(truth: np.ndarray, predicted: np.ndarray) -> float:
    known = truth != ""
    if not known.any():
        return float("nan")
    return float(balanced_accuracy_score(truth[known], predicted[known]))
