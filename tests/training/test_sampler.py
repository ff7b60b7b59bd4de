"""What a batch holds."""

from collections import Counter

import numpy as np
import pytest

from masr_modules.data.metadata import MetadataTable
from masr_modules.training.sampler import KnowledgeBatchSampler, _Sizes, temperature_rates
from masr_modules.training.train_batches import make_sampler


def make(size=600, identities=10, missing=0.1, seed=0, **settings):
    rng = np.random.default_rng(seed)
    codes = rng.integers(identities, size=size)
    codes[rng.random(size) < missing] = -1
    settings = {"max_batch_seconds": 48.0, "utterances_per_identity": 3} | settings
    return KnowledgeBatchSampler(
        durations=settings.pop("durations", np.full(size, 2.0)),
        identities=codes,
        speakers=settings.pop("speakers", rng.integers(20, size=size)),
        **settings,
    )


def test_each_utterance_at_most_once_and_nearly_all_come():
    sampler = make()
    drawn = [index for batch in sampler for index in batch]
    assert len(drawn) == len(set(drawn))
    assert len(drawn) >= 600 - 12  # less than half a batch may wait


def test_every_utterance_of_an_identity_has_a_positive_in_full_batches():
    sampler = make(missing=0.0)
    alone = 0
    for batch in sampler:
        counts = Counter(sampler.identities[batch].tolist())
        alone += sum(count == 1 for count in counts.values())
    assert alone <= 2


def test_batches_keep_to_the_seconds_budget_with_padding():
    rng = np.random.default_rng(1)
    sampler = make(durations=rng.uniform(1, 10, size=600), num_buckets=5)
    for batch in sampler:
        assert sampler.durations[batch].max() * len(batch) <= 48.0 + 1e-6
    drawn = [index for batch in sampler for index in batch]
    assert len(drawn) == len(set(drawn)) and len(drawn) > 500


def test_utterances_without_identity_come_in_corpus_proportion():
    sampler = make(missing=0.25)
    shares = [np.mean(sampler.identities[batch] < 0) for batch in list(sampler)]
    whole = np.mean(sampler.identities < 0)
    assert abs(np.median(shares) - whole) < 0.06


def test_the_same_seed_and_epoch_give_the_same_batches_and_others_do_not():
    one, two = make(seed=3), make(seed=3)
    one.set_epoch(4)
    two.set_epoch(4)
    assert one.batches == two.batches
    two.set_epoch(5)
    assert one.batches != two.batches


def test_utterances_of_an_identity_come_from_different_speakers():
    sampler = make(size=200, identities=4, missing=0.0, speakers=np.arange(200) % 2)
    sampler = KnowledgeBatchSampler(
        [2.0] * 200, sampler.identities, np.arange(200) % 2, 16.0, utterances_per_identity=2
    )
    mixed = total = 0
    for batch in sampler.batches[: len(sampler) // 2]:
        for identity in set(sampler.identities[batch].tolist()):
            speakers = [sampler.speakers[i] for i in batch if sampler.identities[i] == identity]
            mixed, total = mixed + (len(set(speakers)) > 1), total + 1
    assert mixed / total > 0.9


def test_half_of_the_identities_are_relatives_of_the_others():
    # Identities 2k and 2k + 1 are relatives.
    relatedness = np.eye(10)
    for k in range(0, 10, 2):
        relatedness[k, k + 1] = relatedness[k + 1, k] = 0.9
    settings = {"missing": 0.0, "max_batch_seconds": 24.0, "utterances_per_identity": 3}

    def paired(sampler):
        first = [set(sampler.identities[b].tolist()) for b in sampler.batches]
        return np.mean([(i ^ 1) in batch for batch in first for i in batch])

    assert paired(make(relatedness=relatedness, **settings)) > 0.8
    assert paired(make(relatedness=None, **settings)) < 0.6


def test_a_short_bucket_joins_its_neighbour():
    durations = np.concatenate([np.full(590, 2.0), np.full(10, 4.0)])
    sampler = make(durations=durations, num_buckets=60)
    drawn = {index for batch in sampler for index in batch}
    assert len(drawn & set(range(590, 600))) >= 4
    assert all(len(bucket) >= sampler._capacity(bucket) for bucket in sampler.buckets)


def test_singletons_and_missing_identities_alone_still_make_batches():
    sampler = KnowledgeBatchSampler([2.0] * 9, range(9), [-1] * 9, 6.0, 2)
    assert sorted(i for batch in sampler for i in batch) == list(range(9))


def test_an_utterance_longer_than_the_budget_is_refused():
    with pytest.raises(ValueError, match="does not fit max_batch_seconds"):
        KnowledgeBatchSampler([50.0], [0], [0], 48.0, 2)
    with pytest.raises(ValueError, match="utterances_per_identity"):
        KnowledgeBatchSampler([1.0], [0], [0], 48.0, 1)


def test_a_budget_of_one_utterance_gives_batches_of_one():
    sampler = KnowledgeBatchSampler([2.0] * 6, [0, 0, 0, 1, 1, 1], [-1] * 6, 2.0, 2)
    assert sorted(sampler.batches) == [[0], [1], [2], [3], [4], [5]]


def test_no_mix_of_lengths_budgets_and_missing_labels_hangs_or_repeats():
    rng = np.random.default_rng(0)
    for trial in range(60):
        size = int(rng.integers(1, 40))
        sampler = KnowledgeBatchSampler(
            rng.uniform(0.5, 4.0, size=size),
            rng.integers(-1, 4, size=size),
            rng.integers(-1, 3, size=size),
            max_batch_seconds=float(rng.uniform(4.0, 20.0)),
            utterances_per_identity=int(rng.integers(2, 5)),
            num_buckets=int(rng.integers(1, 4)),
            seed=trial,
        )
        drawn = [index for batch in sampler for index in batch]
        assert len(drawn) == len(set(drawn)) > 0 and all(sampler.batches)


# Temperature on languages


def test_rates_at_temperature_1_leave_the_corpus_as_it_is():
    assert temperature_rates([0, 1, 1, -1, 3], 1.0).tolist() == [1.0] * 5


def test_rates_follow_the_shares_to_the_power_of_one_over_the_temperature():
    languages = [0] * 64 + [1] * 4 + [-1] * 5
    rates = temperature_rates(languages, 2.0)
    # shares 64/68 and 4/68; their roots are as 8 to 2: 68 utterances fall into 54.4 and 13.6
    assert rates[:64].sum() == pytest.approx(54.4) and rates[64:68].sum() == pytest.approx(13.6)
    assert rates[68:].tolist() == [1.0] * 5
    flat = temperature_rates(languages, 1e9)
    assert flat[:64].sum() == pytest.approx(flat[64:68].sum()) == pytest.approx(34.0)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_positive_is_an_error(temperature):
    with pytest.raises(ValueError, match="must be more than 0"):
        temperature_rates([0, 1], temperature)


def tempered(temperature, sizes=(160, 10), **options):
    """A sampler over languages of these sizes, one speaker an utterance."""
    languages = np.repeat(np.arange(len(sizes)), sizes)
    return KnowledgeBatchSampler(
        durations=[1.0] * len(languages),
        identities=languages,
        speakers=range(len(languages)),
        max_batch_seconds=6.0,
        utterances_per_identity=2,
        rates=temperature_rates(languages, temperature),
        **options,
    )


def test_a_temperature_brings_rare_languages_more_often():
    sampler = tempered(2.0)
    counts = np.zeros(170)
    for epoch in range(20):
        sampler.set_epoch(epoch)
        for index in (i for batch in sampler for i in batch):
            counts[index] += 1
    # 170 utterances as sqrt(160) to sqrt(10), which is 4 to 1: 136 and 34
    assert counts[:160].sum() / 20 == pytest.approx(136, abs=3)
    assert counts[160:].sum() / 20 == pytest.approx(34, abs=3)
    assert counts[:160].min() > 0 and counts[160:].min() >= 3 * 19


def test_at_temperature_1_each_utterance_comes_once():
    sampler = tempered(1.0, sizes=(160, 8))  # 28 batches of 6
    assert sorted(i for batch in sampler for i in batch) == list(range(168))


def test_utterances_that_come_often_come_once_in_a_batch():
    for seed in range(5):
        for batch in tempered(8.0, sizes=(200, 12, 8), seed=seed):
            assert len(set(batch)) == len(batch)


def test_a_language_of_one_utterance_comes_often_and_makes_no_pair():
    sampler = tempered(1e9, sizes=(20, 1))
    assert sum(batch.count(20) for batch in sampler) == pytest.approx(10, abs=6)


def test_the_temperature_of_an_experiment_reaches_its_batches():
    rows = {
        f"{language}{n}": {"duration": 1.0, "language": language, "speaker": ""}
        for language, count in (("deu", 64), ("fra", 4))
        for n in range(count)
    }
    settings = {
        "knowledge": [],
        "batch_identity": "language",
        "max_crop_seconds": 1.0,
        "max_batch_seconds": 4.0,
        "utterances_per_identity": 2,
        "num_buckets": 1,
        "seed": 0,
    }
    table = MetadataTable(rows)
    assert make_sampler(settings, rows, table).rates is None
    rates = make_sampler(settings | {"language_temperature": 2.0}, rows, table).rates
    assert rates[64:].sum() == pytest.approx(13.6)  # 2 of 8 + 2 parts of 68
    by_speaker = {i: row | {"speaker": row["language"]} for i, row in rows.items()}
    table = MetadataTable(by_speaker)
    both = settings | {"language_temperature": 2.0, "speaker_temperature": 2.0}
    rates = make_sampler(both, by_speaker, table).rates
    # Each doubles what the rare one gets beside the other: 1 to 4 instead of 1 to 16, then 1 to 1.
    assert rates.sum() == pytest.approx(68) and rates[64:].sum() == pytest.approx(34)


def test_identities_come_as_often_as_they_have_utterances_left():
    rng, sizes = np.random.default_rng(0), _Sizes({7: 5, 3: 0, 9: 15, 4: 80})
    sizes.set(4, 20)
    counts = Counter(sizes.draw(rng) for _ in range(8000))
    assert counts.keys() == {7, 9, 4}
    assert counts[7] / 8000 == pytest.approx(5 / 40, abs=0.02)
    assert counts[9] / 8000 == pytest.approx(15 / 40, abs=0.02)
