"""Batches that hold hard pairs: what a pair is, and how many utterances of a batch have one."""

import copy
import logging
from collections import Counter

import numpy as np
import pytest

from masr_modules.data.metadata import Metadata, MetadataTable
from masr_modules.training import loading
from masr_modules.training.hard_pairs import HardPairs, PairRule, draw_bundles, pair_shares
from masr_modules.training.sampler import KnowledgeBatchSampler, _Sizes, temperature_rates
from masr_modules.training.train_batches import make_sampler

COLUMNS = {"emotion": ["speaker"], "speaker": ["language", "gender"]}


def small_corpus(size=480, seed=0):
    """Metadata of 40 speakers in 8 languages; an emotion is known of half the utterances."""
    rng = np.random.default_rng(seed)
    speakers = rng.integers(40, size=size)
    emotions = [f"e{code}" if code < 4 else "" for code in rng.integers(8, size=size)]
    return Metadata.from_columns(
        {
            "language": [f"l{speaker // 5}" for speaker in speakers],
            "speaker": [f"s{speaker:02}" for speaker in speakers],
            "gender": ["female" if speaker % 2 else "male" for speaker in speakers],
            "emotion": emotions,
        }
    )


def make(metadata, share=0.5, columns=COLUMNS, **settings):
    settings = {"max_batch_seconds": 24.0, "utterances_per_identity": 2} | settings
    return KnowledgeBatchSampler(
        settings.pop("durations", np.full(len(metadata), 2.0)),
        metadata["language"].numpy(),
        metadata["speaker"].numpy(),
        hard_pairs=HardPairs.of_metadata(columns, metadata) if share is not None else None,
        hard_pair_share=share or 0.0,
        **settings,
    )


# What a pair is


def test_a_hard_negative_agrees_in_every_column_and_a_positive_is_another_speaker():
    metadata = Metadata.from_columns(
        {
            "language": ["fra", "ita", "deu", "fra", "fra", ""],
            "family": ["r", "r", "g", "r", "r", "r"],
            "gender": ["f", "f", "f", "m", "", "f"],
            "speaker": ["a", "b", "c", "a", "", "d"],
        }
    )
    pairs = HardPairs.of_metadata({"language": ["family", "gender"]}, metadata)
    negative = pairs.negatives["language"].has_pair(range(6))
    # 0 and 1 alone: 2 is of another family, 3 of another gender, 4 and 5 lack a label.
    assert negative.tolist() == [True, True, False, False, False, False]
    positive = pairs.positives["language"]
    assert positive.has_pair([0, 3]).tolist() == [False, False]  # the same speaker
    assert positive.has_pair([0, 4]).tolist() == [True, True]  # unknown: perhaps another
    assert positive.has_pair([0, 5]).tolist() == [False, False]  # its language is not known


def test_the_positive_of_a_speaker_is_another_utterance():
    metadata = Metadata.from_columns({"speaker": ["a", "a", "b", ""], "gender": ["f"] * 4})
    pairs = HardPairs.of_metadata({"speaker": ["gender"]}, metadata)
    assert pairs.positives["speaker"].has_pair(range(4)).tolist() == [True, True, False, False]
    assert pairs.positives["speaker"].has_pair([0, 0]).tolist() == [False, False]  # a recording
    assert pairs.negatives["speaker"].has_pair(range(4)).tolist() == [True, True, True, False]


def test_shares_are_over_the_utterances_with_a_label():
    metadata = Metadata.from_columns(
        {"emotion": ["joy", "fear", "joy", "joy", ""], "speaker": ["a", "a", "b", "b", "b"]}
    )
    pairs = HardPairs.of_metadata({"emotion": ["speaker"]}, metadata)
    # Together: the three joys have another speaker's joy, 0 and 1 are a hard pair.
    assert pair_shares(pairs, [range(5)])["emotion"] == (0.8, 0.75, 0.5, 0.25)
    # In batches of their own: 0 and 1 are a hard pair, 2 and 3 are one speaker.
    assert pair_shares(pairs, [[0, 1], [2, 3, 4]])["emotion"] == (0.8, 0.0, 0.5, 0.0)
    assert np.isnan(pair_shares(pairs, [[4]])["emotion"][1:]).all()


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"emotion": "speaker"}, "'emotion' needs a list of the columns"),
        ({"emotion": []}, "'emotion' needs a list of the columns"),
        ({"emotion": ["age"]}, "hard_pairs, 'emotion': column 'age' is read as numbers"),
        ({"emotion": ["accent"]}, "hard_pairs, 'emotion': metadata column 'accent'"),
    ],
)
def test_columns_that_make_no_pairs_are_refused(columns, message):
    table = MetadataTable({"u": {"emotion": "joy", "speaker": "a", "age": "30"}})
    table.require("speaker")
    with pytest.raises(ValueError, match=message):
        HardPairs.of_metadata(columns, table)


def test_an_identity_without_a_pair_is_told_once_with_counts(caplog):
    metadata = Metadata.from_columns(
        {
            "emotion": ["joy", "fear", ""],
            "speaker": ["a", "b", "b"],
            "gender": ["f", "f", ""],
            "language": ["", "", ""],
        }
    )
    with caplog.at_level(logging.WARNING):
        HardPairs.of_metadata({"speaker": ["gender"]}, metadata).warn_where_none()
        assert not caplog.messages
        HardPairs.of_metadata({"emotion": ["speaker", "language"]}, metadata).warn_where_none()
    negative, positive = caplog.messages
    assert "none of the 2 utterances with a known emotion has a hard negative" in negative
    assert negative.endswith("(number of them that have a label: speaker 2, language 0)")
    assert positive.endswith("has a positive, the same emotion of another speaker")


# Bundles


def test_bundles_and_rest_are_the_utterances():
    metadata = small_corpus()
    rules = HardPairs.of_metadata(COLUMNS, metadata).rules
    places = np.arange(100, 400)
    bundles, rest = draw_bundles(rules, places, 25, 6, np.random.default_rng(1))
    assert [len(bundle) for bundle in bundles] == [6] * 25
    assert sorted([*sum(bundles, []), *rest.tolist()]) == places.tolist()


def test_utterances_that_come_often_come_once_in_a_bundle():
    rule = PairRule(np.zeros(4, int), np.array([0, 0, 1, 1]))
    bundles, rest = draw_bundles([rule], np.repeat(np.arange(4), 5), 4, 3, np.random.default_rng(0))
    counts = Counter(sum(bundles, [])) + Counter(rest.tolist())
    assert counts == dict.fromkeys(range(4), 5)
    assert all(len(set(bundle)) == len(bundle) == 3 for bundle in bundles)


def test_an_utterance_without_a_partner_leaves_its_place_to_others():
    rule = PairRule(np.array([0, 0, -1, 1, 1]), np.array([0, 1, 0, 2, 2]))  # 3 and 4: one label
    bundles, rest = draw_bundles([rule], np.arange(5), 1, 5, np.random.default_rng(0))
    assert sorted(bundles[0]) == [0, 1, 2, 3, 4] and not len(rest)


# Batches


def test_the_share_of_utterances_with_a_hard_pair_rises():
    metadata = small_corpus()
    pairs = HardPairs.of_metadata(COLUMNS, metadata)
    without, half, whole = (
        pair_shares(pairs, make(metadata, share).batches) for share in (None, 0.5, 1.0)
    )
    for identity in COLUMNS:
        for place in (1, 2, 3):  # a positive, a hard negative, both
            assert half[identity][place] > without[identity][place]
        assert whole[identity][3] > half[identity][3] > without[identity][3] + 0.1
    assert whole["emotion"][3] > 0.6 > 0.2 > without["emotion"][3]


def test_nothing_changes_without_the_option_or_with_a_share_of_none():
    metadata = small_corpus()
    assert make(metadata, None).batches == make(metadata, 0.0).batches
    assert make(metadata, None).batches != make(metadata, 0.5).batches


@pytest.mark.parametrize("share", [0.3, 0.5, 1.0])
def test_an_epoch_is_as_long_and_each_utterance_comes_once(share):
    metadata = small_corpus(size=700)
    batches, before = make(metadata, share).batches, make(metadata, None).batches
    drawn = [utterance for batch in batches for utterance in batch]
    assert len(drawn) == len(set(drawn)) >= 700 - 6  # less than half a batch may wait
    assert max(map(len, batches)) == 12 and abs(len(batches) - len(before)) <= 2


@pytest.mark.parametrize("room, languages", [(4, [2, 2]), (7, [3, 4]), (8, [2, 3, 3])])
def test_places_beside_hard_pairs_are_filled_with_two_languages_or_more(room, languages):
    sampler = make(small_corpus(), utterances_per_identity=3)
    pools, free = sampler._pools(np.arange(480))
    sizes, batch = _Sizes({language: len(pool) for language, pool in pools.items()}), []
    sampler._fill(batch, pools, free, room, sizes, np.random.default_rng(0))
    assert sorted(Counter(sampler.identities[batch].tolist()).values()) == languages


def test_batches_keep_to_the_seconds_budget_with_padding():
    metadata = small_corpus(size=600)
    durations = np.random.default_rng(1).uniform(1, 10, size=600)
    sampler = make(metadata, durations=durations, num_buckets=5, max_batch_seconds=48.0)
    for batch in sampler:
        assert durations[batch].max() * len(batch) <= 48.0 + 1e-6
    drawn = [utterance for batch in sampler for utterance in batch]
    assert len(drawn) == len(set(drawn)) > 500


def test_seed_and_epoch_alone_say_what_comes():
    metadata = small_corpus()
    one, two = make(metadata, seed=3), make(metadata, seed=3)
    for epoch in (1, 2, 4):
        one.set_epoch(epoch)
        one.batches  # noqa: B018 # one has planned epochs that two has not
    two.set_epoch(4)
    assert one.batches == two.batches
    two.set_epoch(5)
    assert one.batches != two.batches != make(metadata, seed=4).batches


def test_missing_labels_lead_to_no_pair_and_no_loss_of_utterances():
    metadata = small_corpus()
    unknown = copy.deepcopy(metadata)
    for column in ("emotion", "speaker", "gender"):
        unknown.columns[column][:] = -1
    drawn = [utterance for batch in make(unknown).batches for utterance in batch]
    assert len(drawn) == len(set(drawn)) >= 480 - 6
    shares = pair_shares(HardPairs.of_metadata(COLUMNS, unknown), make(unknown).batches)
    assert shares["emotion"][0] == shares["speaker"][0] == 0


def test_a_temperature_and_hard_pairs_go_together():
    metadata = small_corpus()
    rates = temperature_rates(metadata["speaker"].tolist(), 3.0)
    sampler = make(metadata, rates=rates)
    drawn = Counter(utterance for batch in sampler for utterance in batch)
    assert sum(drawn.values()) == pytest.approx(480, abs=6)
    more = [drawn[i] for i in range(480) if rates[i] > 1.2]
    assert more and np.mean(more) > np.mean([drawn[i] for i in range(480) if rates[i] < 0.9])


def test_no_mix_of_lengths_budgets_and_missing_labels_hangs_or_repeats():
    rng = np.random.default_rng(0)
    for trial in range(60):
        size = int(rng.integers(1, 40))
        names = ("language", "speaker", "gender", "emotion")
        cells = {name: rng.choice(["", "a", "b", "c"], size=size).tolist() for name in names}
        sampler = make(
            Metadata.from_columns(cells),
            share=float(rng.uniform(0, 1)),
            durations=rng.uniform(0.5, 4.0, size=size),
            max_batch_seconds=float(rng.uniform(4.0, 20.0)),
            num_buckets=int(rng.integers(1, 4)),
            seed=trial,
        )
        drawn = [utterance for batch in sampler for utterance in batch]
        assert len(drawn) == len(set(drawn)) > 0 and all(sampler.batches)


def test_a_fraction_beyond_one_is_refused():
    with pytest.raises(ValueError, match="hard_pair_share must be in"):
        make(small_corpus(), share=1.5)


# Several ranks, and a resumed run


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_the_batches_of_an_epoch(monkeypatch, ranks):
    sampler = make(small_corpus())
    monkeypatch.setattr(loading, "world_size", lambda: ranks)
    own = []
    for rank in range(ranks):
        monkeypatch.setattr(loading, "rank", lambda rank=rank: rank)
        own.append(list(loading.RankBatches(make(small_corpus()))))
    assert len({len(batches) for batches in own}) == 1
    together = [batch for turn in zip(*own, strict=True) for batch in turn]
    assert together[: len(sampler)] == sampler.batches


def test_a_resumed_run_goes_on_with_the_same_batches(tmp_path):
    def load():
        sampler = make(small_corpus())
        sampler.set_epoch(3)
        examples = [{"id": str(place)} for place in range(480)]
        return loading.RankLoader(examples, sampler)

    whole = [batch.id for batch in load()]
    begun = load()
    first = [batch.id for batch, _ in zip(begun, range(4), strict=False)]
    begun.save(tmp_path / "place")
    resumed = load()
    resumed.load(tmp_path / "place", end_of_epoch=False)
    given = begun.given
    assert first == whole[:4] and [batch.id for batch in resumed] == whole[given:]


# From an experiment


def experiment(size=96):
    metadata = small_corpus(size)
    rows = {
        f"u{place:03}": {
            "duration": 1.0,
            **{
                name: labels[code] if (code := int(metadata[name][place])) >= 0 else ""
                for name, labels in metadata.vocabularies.items()
            },
        }
        for place in range(size)
    }
    settings = {
        "knowledge": [],
        "batch_identity": "language",
        "max_crop_seconds": 1.0,
        "max_batch_seconds": 12.0,
        "utterances_per_identity": 2,
        "num_buckets": 1,
        "seed": 0,
    }
    return settings, rows


def test_the_hard_pairs_of_an_experiment_reach_its_batches(caplog):
    settings, rows = experiment()
    plain = make_sampler(settings | {"hard_pairs": {}}, rows, MetadataTable(rows)).batches
    assert plain == make_sampler(settings, rows, MetadataTable(rows)).batches
    held = make_sampler(settings | {"hard_pairs": COLUMNS}, rows, MetadataTable(rows))
    assert held.batches != plain and not caplog.messages
    # The table may hold other splits: places in it are not those of the training utterances.
    table = MetadataTable([{"other": next(iter(rows.values()))}, rows])
    assert make_sampler(settings | {"hard_pairs": COLUMNS}, rows, table).batches == held.batches
    with caplog.at_level(logging.WARNING):
        make_sampler(settings | {"hard_pairs": {"gender": ["speaker"]}}, rows, MetadataTable(rows))
    assert "96 utterances with a known gender has a hard negative" in caplog.messages[0]
