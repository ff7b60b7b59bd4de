"""What heads say of themselves, and which layer of the encoder each identity reads."""

from functools import partial

import pytest
import torch
from speechbrain.nnet.losses import AdditiveAngularMargin, LogSoftmaxWrapper
from torch._subclasses.fake_tensor import FakeTensorMode

from masr_modules.data.metadata import Metadata
from masr_modules.distributed import JointBatch
from masr_modules.heads import (
    ClassifierHead,
    MASRHead,
    MultiLabelHead,
    Projection,
    RegressionHead,
)
from masr_modules.heads.regression import label_vectors
from masr_modules.knowledge import Categorical, Geographic, LanguageDistance, build_sources
from masr_modules.pairwise.losses import MASRLoss
from masr_modules.pairwise.prototypes import Prototypes
from masr_modules.pairwise.soft_labels import MultiSupConLoss

SOURCES = [Categorical(column) for column in ("family", "gender", "emotion")]
CORPUS = {
    "language": ["fra", "spa", "deu", "fra"],
    "speaker": ["a", "b", "c", "d"],
    "family": ["rom", "rom", "ger", "rom"],
    "gender": ["f", "m", "f", "m"],
    "emotion": ["sad", "happy", "happy", "sad"],
}
KNOWN = Metadata.from_columns(CORPUS)
SOFT = {"mining": "soft", "knowledge_weight": 0.3, "activation": "softplus"}


def names(head):
    return [source.column for source in head.used_sources]


@pytest.mark.parametrize(
    "loss, used",
    [
        (MASRLoss("hardest", knowledge_weight=0.5), []),
        (MASRLoss("knowledge", knowledge_weight=0.0), []),
        (MASRLoss("soft", knowledge_weight=0.0), []),
        (MASRLoss("soft", knowledge_weight=-0.3), ["family", "gender", "emotion"]),
        (MASRLoss("hardest", margin_mode="graded"), ["family", "gender", "emotion"]),
        (MASRLoss("knowledge", knowledge_weight=0.5), ["family", "gender", "emotion"]),
        (MultiSupConLoss(), ["family", "gender", "emotion"]),
    ],
)
def test_sources_count_where_the_loss_looks_at_them(loss, used):
    head = MASRHead(SOURCES, loss, Projection(6, 4), KNOWN)
    assert names(head) == used


FAMILY = partial(Prototypes, candidates_by=["family"])


def test_what_no_loss_reads_is_refused_and_with_pairs_every_source_counts():
    one, several = (MASRLoss(**SOFT), Projection(6, 4), KNOWN), (MASRLoss(**SOFT), 6, 4, KNOWN)
    with pytest.raises(ValueError, match="no part of the loss reads Categorical of 'gender', Cat"):
        MASRHead(SOURCES, *one, prototypes=FAMILY)
    assert names(MASRHead(SOURCES[:1], *one, prototypes=FAMILY)) == ["family"]
    head = MASRHead(SOURCES, *one, prototypes=FAMILY, pair_weight=0.3)
    assert names(head) == ["family", "gender", "emotion"] and head.identities == ["language"]

    identities = {"language": 1.0, "gender": 0.5}
    both = partial(Prototypes, candidates_by=["gender", "family"])
    with pytest.raises(ValueError, match="Categorical of 'emotion'. Prototypes stand for labels"):
        MultiLabelHead(identities, SOURCES, *several, prototypes=both)
    head = MultiLabelHead(identities, SOURCES[:2], *several, prototypes=both)
    assert names(head) == ["family", "gender"] and head.identities == ["language", "gender"]
    head = MultiLabelHead(identities, SOURCES, *several, prototypes=both, pair_weight=0.3)
    assert names(head) == ["family", "gender", "emotion"]
    with pytest.raises(ValueError, match="Categorical of 'gender': in .* which may be \\[\\]"):
        MultiLabelHead({"gender": 1.0}, SOURCES, *several, prototypes=both, pair_weight=0.3)


def test_pairs_of_utterances_are_added_to_prototypes():
    pooled, metadata = torch.randn(4, 6), KNOWN.select(torch.arange(4))

    def output(sources, **options):
        torch.manual_seed(0)
        return MASRHead(sources, MASRLoss(**SOFT), Projection(6, 4), KNOWN, **options)(
            pooled, metadata
        )

    labels = output(SOURCES[:1], prototypes=FAMILY)
    pairs = output(SOURCES)
    both = output(SOURCES, prototypes=FAMILY, pair_weight=0.3)
    assert both.loss.item() == pytest.approx((labels.loss + 0.3 * pairs.loss).item(), rel=1e-6)
    assert both.stats["pairs"] == pairs.loss
    assert both.stats["pairs_anchors"] == pairs.stats["anchors"] == 0.5  # two are French


@pytest.mark.parametrize(
    "options, message",
    [
        ({"pair_weight": 0.3}, "there are no prototypes: set it to 0"),
        (
            {"pair_weight": -1.0, "prototypes": FAMILY},
            "must not be negative, nor infinite; it is -1.0",
        ),
        ({"memory": print, "prototypes": FAMILY}, "a memory serves pairs of utterances"),
    ],
)
def test_a_pair_weight_or_a_memory_without_effect_is_refused(options, message):
    for head in (
        partial(MASRHead, [], MASRLoss(), Projection(6, 4)),
        partial(MultiLabelHead, {"language": 1.0}, [], MASRLoss(), 6, 4),
    ):
        with pytest.raises(ValueError, match=message):
            head(metadata=KNOWN, **options)


class Bare(torch.nn.Module):
    """A user's loss that returns its value alone."""

    def forward(self, embeddings, similarity, candidates=None):
        return embeddings.sum()


@pytest.mark.parametrize("prototypes", [None, FAMILY])
def test_a_loss_that_returns_a_bare_tensor_is_told_what_to_return(prototypes):
    head = MASRHead([], Bare(), Projection(6, 4), KNOWN, prototypes=prototypes)
    with pytest.raises(TypeError, match=r"Bare returned a Tensor; a loss returns LossOutput\("):
        head(torch.randn(4, 6), KNOWN.select(torch.arange(4)))


def test_a_classifier_uses_labels_alone():
    head = ClassifierHead(["language", "speaker"], 6, 4, KNOWN)
    assert head.used_sources == [] and head.identities == ["language", "speaker"]


def classifier(metadata, **options):
    torch.manual_seed(0)
    head = ClassifierHead(["language"], 6, 4, KNOWN, **options)
    return head(torch.randn(4, 6, generator=torch.Generator().manual_seed(1)), metadata).loss


def test_a_classifier_learns_from_what_an_utterance_may_be():
    corpus = Metadata.from_columns(CORPUS)  # deu, fra, spa; only these two are romance
    head = ClassifierHead(["language"], 6, 4, corpus, candidates_by=["family"])
    head.eval()  # no batch statistics: an utterance's loss is its own
    codes = {name: code for code, name in enumerate(corpus.vocabularies["language"])}
    columns = {"language": corpus["language"].clone(), "family": corpus["family"].clone()}
    columns["language"][:] = -1
    columns["language"][3] = codes["fra"]
    columns["family"][1] = -1  # nothing is known of the second
    metadata = Metadata(columns, corpus.vocabularies)
    pooled = torch.randn(4, 6, requires_grad=True)
    loss = head(pooled, metadata).loss
    logits = head.classifiers["language"](
        head.projections["shared"](pooled, JointBatch(4, pooled.device, alone=True))
    ).double()
    shares = logits.softmax(dim=1)
    romance = shares[0, codes["fra"]] + shares[0, codes["spa"]]
    expected = -(romance.log() + shares[2, codes["deu"]].log() + shares[3, codes["fra"]].log()) / 3
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    (grad,) = torch.autograd.grad(loss, pooled)
    assert grad.isfinite().all() and grad[1].eq(0).all()
    assert head.identities == ["language"]


def test_where_all_labels_are_known_candidate_labels_change_nothing():
    metadata = Metadata.from_columns(CORPUS)
    plain, told = classifier(metadata), classifier(metadata, candidates_by=["family"])
    assert told.item() == pytest.approx(plain.item(), rel=1e-6)


def test_a_classifier_weighs_its_columns():
    pooled = torch.randn(4, 6)

    def loss(columns):
        torch.manual_seed(0)
        head = ClassifierHead(columns, 6, 4, KNOWN)
        return head(pooled, KNOWN).loss

    even = loss(["language", "speaker"])
    torch.testing.assert_close(loss({"language": 0.5, "speaker": 0.5}), even)
    first, second = (
        loss(weights)
        for weights in ({"language": 1.0, "speaker": 1e-9}, {"language": 1e-9, "speaker": 1.0})
    )
    torch.testing.assert_close(loss({"language": 2.0, "speaker": 0.1}), 2 * first + 0.1 * second)
    with pytest.raises(ValueError, match="weight above 0 each"):
        ClassifierHead({"language": 0.0}, 6, 4, KNOWN)


def test_columns_of_a_classifier_read_layers_of_their_own():
    layers = {"speaker": 0, "language": [0, 2]}
    head = ClassifierHead(["language", "speaker", "gender"], 6, 4, KNOWN, layers=layers)
    pooled = torch.randn(4, 4, 6, requires_grad=True)
    head(pooled, KNOWN).loss.backward()
    assert pooled.grad.abs().sum(dim=(0, 2)).gt(0).tolist() == [True, False, True, True]
    with pytest.raises(ValueError, match=r"names \['accent'\], .* among columns: \['language'\]"):
        ClassifierHead(["language"], 6, 4, KNOWN, layers={"accent": 0})


def test_a_margin_is_speechbrains_aam_softmax():
    corpus = Metadata.from_columns(CORPUS | {"language": ["fra", "spa", "", "fra"]})
    aam = AdditiveAngularMargin(margin=0.2, scale=10.0)
    head = ClassifierHead(["language"], 6, 4, corpus, margin=aam)
    pooled = torch.randn(4, 6)
    found = head(pooled, corpus).loss
    z = torch.nn.functional.normalize(head.projections["shared"](pooled, JointBatch(4)), dim=1)
    weight = torch.nn.functional.normalize(head.classifiers["language"].weight, dim=1)
    known = torch.tensor([0, 1, 3])  # the third has no language
    published = LogSoftmaxWrapper(aam)
    expected = published((z @ weight.T)[known].unsqueeze(1), corpus["language"][known].unsqueeze(1))
    torch.testing.assert_close(found, expected)
    easier = head.eval()(pooled, corpus).loss  # no margin where nothing is trained
    assert easier != found
    with pytest.raises(ValueError, match="a margin needs the one label"):
        ClassifierHead(["language"], 6, 4, corpus, margin=aam, candidates_by=["family"])


def test_each_identity_reads_its_own_layer():
    layers = {"speaker": 0, "language": -1}
    metadata = Metadata.from_columns(CORPUS | {"speaker": ["a", "a", "b", "b"]})
    identities = dict.fromkeys(layers, 1.0)
    loss = MASRLoss(activation="softplus")  # never quite 0
    head = MultiLabelHead(identities, [], loss, 6, 4, metadata, layers=layers)
    pooled = torch.randn(4, 3, 6, requires_grad=True)
    head(pooled, metadata).loss.backward()
    assert pooled.grad.abs().sum(dim=(0, 2)).gt(0).tolist() == [True, False, True]


@pytest.mark.parametrize(
    "make",
    [
        partial(
            MultiLabelHead,
            {"language": 1.0, "speaker": 0.5},
            [*SOURCES, partial(LanguageDistance, "language")],
            MASRLoss(**SOFT),
            6,
            4,
            prototypes=FAMILY,
            pair_weight=0.3,
        ),
        partial(MASRHead, SOURCES, MASRLoss("knowledge", 0.3), Projection(6, 4)),
        partial(ClassifierHead, ["language"], 6, 4, candidates_by=["family"]),
    ],
    ids=["prototypes", "pairs", "classifier"],
)
def test_a_head_stays_on_its_device_and_asks_for_no_value(make):
    """On a GPU that need not be there: tensors without values, which refuse to be mixed."""
    metadata = Metadata.from_columns(CORPUS | {"language": ["fra", "spa", "", "deu"]})
    head = make(metadata=metadata)
    with FakeTensorMode(allow_non_fake_inputs=True):
        pooled, known = torch.randn(4, 6, device="cuda"), metadata.to("cuda")
        output = head.to("cuda")(pooled, known)
        assert {x.device.type for x in (output.loss, *output.stats.values())} == {"cuda"}
        with pytest.raises(Exception, match="device"):
            head(pooled, metadata)


def test_a_layer_of_no_identity_is_an_error():
    with pytest.raises(
        ValueError, match=r"names \['accent'\], which are not among identities: \['speaker'\]"
    ):
        MultiLabelHead({"speaker": 1.0}, [], MASRLoss(), 6, 4, KNOWN, layers={"accent": 0})


def test_a_mix_of_some_layers_leaves_out_the_others():
    projection = Projection(6, 4, layers=[0, 2]).eval()
    pooled = torch.randn(2, 4, 6)
    other = pooled.clone()
    other[:, [1, 3]] = 9.0
    assert torch.equal(projection(pooled, JointBatch(2)), projection(other, JointBatch(2)))


def test_label_vectors_have_the_similarities_of_the_sources():
    names = ["cat", "spa", "por", "deu", "nld", "tam"]
    metadata = Metadata.from_columns({"language": names})
    sources = build_sources([partial(LanguageDistance, "language", "genetic")], metadata)
    vectors = label_vectors(sources, "language", metadata, size=5)
    place = {name: i for i, name in enumerate(metadata.vocabulary("language"))}
    near, far = ((vectors[place["cat"]] - vectors[place[other]]).norm() for other in ("spa", "tam"))
    assert near < far
    assert vectors.square().mean().item() == pytest.approx(1.0)
    torch.testing.assert_close(vectors.mean(dim=0), torch.zeros(5), atol=1e-5, rtol=0)


def test_regression_is_added_to_cross_entropy_where_the_label_is_known():
    corpus = Metadata.from_columns(CORPUS | {"language": ["fra", "spa", "", "deu"]})
    classifier = partial(ClassifierHead, ["language"], 6, 4)
    make = partial(RegressionHead, classifier, [partial(Geographic, "language")], 6, corpus)
    head = make(vector_size=2, weight=0.5)
    pooled = torch.randn(4, 6)
    output = head(pooled, corpus)
    guess = head.predict(pooled, JointBatch(4))
    known = torch.tensor([0, 1, 3])
    errors = (guess - head.vectors[corpus["language"]])[known].square().mean()
    expected = head.classifier(pooled, corpus).loss + 0.5 * errors
    torch.testing.assert_close(output.loss, expected)
    assert names(head) == ["language"] and head.identities == ["language"]
    with pytest.raises(ValueError, match="needs sources that grade its labels"):
        RegressionHead(classifier, [Categorical("language")], 6, corpus)
