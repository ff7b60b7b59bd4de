"""What recipes start with, where there is nothing to prepare."""

import pytest

from masr_modules.training.experiment import prepare_corpus, start_experiment


@pytest.fixture
def yaml(tmp_path):
    """A YAML whose preparation is an error unless it is skipped."""
    lines = [
        f"output_folder: {tmp_path / 'out'}",
        "skip_prep: false",
        "prepare: !name:data_prep.mini_prepare.prepare_mini",
        "    {data_folder: data, save_folder: csv, hours: -1}",
    ]
    path = tmp_path / "experiment.yaml"
    path.write_text("\n".join(lines))
    return str(path)


@pytest.mark.parametrize("skip", ["true", "false"])
def test_without_a_preparation_nothing_is_prepared(yaml, skip):
    overrides = ["--prepare", "null", "--skip_prep", skip]
    prepare_corpus([yaml, *overrides])
    hparams, _ = start_experiment([yaml, *overrides])
    assert hparams["prepare"] is None


def test_a_preparation_is_called_with_skip_prep(yaml):
    prepare_corpus([yaml, "--skip_prep", "true"])
    with pytest.raises(ValueError, match=r"hours \(-1\)"):
        prepare_corpus([yaml])
    with pytest.raises(ValueError, match=r"hours \(-1\)"):
        start_experiment([yaml])
