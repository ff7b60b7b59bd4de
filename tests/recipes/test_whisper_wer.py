"""Error rates of Whispers' own transcription, with small random ones."""

import csv
import shutil

import pytest
import torch
from conftest import load_recipe
from hf_models import save_small
from small_whisper import save_small_whisper
from transformers import GenerationConfig, WhisperForConditionalGeneration, WhisperModel
from trees import write_wav

SAYS = 12  # times; see save_small_whisper


@pytest.fixture(scope="module")
def recipe():
    """recipes/asr/whisper_wer.py as a module."""
    return load_recipe("asr/whisper_wer")


@pytest.fixture(scope="module")
def whispers(tmp_path_factory):
    """What it writes -> folder of a Whisper."""
    folder = tmp_path_factory.mktemp("whispers")
    return {says: save_small_whisper(folder / says, says=says) for says in "ab"}


def copied(source, folder, without=()):
    """A copy of a folder that lacks some files."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*without))
    return str(folder)


def encoder_alone(source, folder):
    """What a training that knows no decoder may export: other weights, and nothing beside them."""
    model = WhisperModel.from_pretrained(source, trust_remote_code=False, weights_only=True)
    state = {k: v + 0.1 for k, v in model.state_dict().items() if k.startswith("encoder.")}
    model.save_pretrained(folder, state_dict=state)
    (folder / "generation_config.json").unlink(missing_ok=True)
    return str(folder)


def write_corpus(folder, texts, duration="1.0"):
    """test.csv with an utterance of each text, of a speaker of its own."""
    with open(folder / "test.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ID", "duration", "wav", "speaker", "text"])
        for number, text in enumerate(texts):
            write_wav(folder / f"{number}.wav", 0.5 + 0.1 * number, seed=number)
            writer.writerow(
                [f"u{number}", duration, f"$data_root/{number}.wav", f"s{number}", text]
            )
    return str(folder / "test.csv")


def test_the_table_has_the_rates_of_each_model_and_their_differences(
    tmp_path, recipe, whispers, capsys
):
    path = write_corpus(tmp_path, [f"{'A' * SAYS}!", "a", f"{'b' * SAYS}, b"])
    models = [whispers["a"], whispers["b"]]
    recipe.main([path, "--data_folder", str(tmp_path), "--models", *models])
    lines = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[2:]]
    header, _, first, second = [[cell.strip() for cell in line] for line in lines]
    assert header[:4] == ["model", "utterances", "WER (%)", "CER (%)"]
    # 4 words, each has one right; 12 + 1 + 14 characters, wrong 0 + 11 + 14 and 12 + 12 + 2
    assert first == [models[0], "3", "75.0", f"{100 * 25 / 27:.1f}", "", ""]
    assert second[:4] == [models[1], "3", "75.0", f"{100 * 26 / 27:.1f}"]
    assert second[4].startswith("+0.0 [-") and second[5].startswith("+3.7 [-")


def test_a_model_differs_from_its_copy_by_nothing(tmp_path, recipe, whispers, capsys):
    path = write_corpus(tmp_path, ["one", "two", "three"])
    models = [whispers["a"], copied(whispers["a"], tmp_path / "copy")]
    recipe.main([path, "--data_folder", str(tmp_path), "--models", *models])
    assert capsys.readouterr().out.count("+0.0 [+0.0, +0.0]") == 2


class Counts:
    """Stands for a model: writes a letter for each tenth of a second that it hears."""

    def __init__(self, tokenizer):
        self.generation_config = GenerationConfig()
        self.token = tokenizer("x", add_special_tokens=False).input_ids[0]

    def to(self, device):
        """Nowhere."""

    def generate(self, input_features, attention_mask, **options):
        assert input_features.shape[1:] == (8, 200)
        return [[self.token] * (len(mask[mask > 0]) // 10) for mask in attention_mask]


def test_each_utterance_gets_what_it_says_itself(tmp_path, recipe, whispers):
    count = recipe.BATCH + 1
    rows = recipe.read_rows(write_corpus(tmp_path, ["text"] * count), str(tmp_path))
    whisper = recipe.load_whisper(whispers["a"])
    whisper = whisper._replace(model=Counts(whisper.tokenizer))
    rows["u0"] |= {"start": "1600", "stop": "4800"}
    texts = recipe.transcribe(whisper, rows)
    assert texts == ["xx", *("x" * (5 + number) for number in range(1, count))]


def test_a_multilingual_one_detects_the_language_and_transcribes(tmp_path, recipe, whispers):
    path = write_corpus(tmp_path, ["some text"])
    whisper = recipe.load_whisper(whispers["a"])
    settings = whisper.model.generation_config
    settings.is_multilingual = True
    settings.lang_to_id = {"<|en|>": 270, "<|fr|>": 271}
    settings.task_to_id = {"transcribe": 280, "translate": 281}
    prompts = []
    forward = whisper.model.forward

    def watched(*arguments, decoder_input_ids=None, **options):
        prompts.append(decoder_input_ids[0].tolist())
        return forward(*arguments, decoder_input_ids=decoder_input_ids, **options)

    whisper.model.forward = watched
    (text,) = recipe.transcribe(whisper, recipe.read_rows(path, str(tmp_path)))
    assert set(text) == {"a"}
    detection, prompt = prompts[:2]
    assert detection == [257] and prompt[1] in (270, 271) and prompt[2:] == [280, 259]


def test_an_encoder_alone_gets_the_rest_of_its_start(tmp_path, recipe, whispers):
    after = encoder_alone(whispers["a"], tmp_path / "after")
    found = recipe.load_whisper(after, whispers["a"])
    before = recipe.load_whisper(whispers["a"])
    for name, value in before.model.state_dict().items():
        shift = 0.1 if name.startswith("model.encoder.") else 0.0
        torch.testing.assert_close(found.model.state_dict()[name], value + shift)
    settings = [whisper.model.generation_config.suppress_tokens for whisper in (found, before)]
    assert settings[0] == settings[1] is not None


def test_the_first_model_is_the_start_of_the_others(tmp_path, recipe, whispers, capsys):
    path = write_corpus(tmp_path, ["a" * SAYS, "one"])
    models = [whispers["a"], encoder_alone(whispers["a"], tmp_path / "after")]
    recipe.main([path, "--data_folder", str(tmp_path), "--models", *models])
    assert capsys.readouterr().out.count("50.0") == 2  # the decoder says the same whatever it hears


def test_utterances_without_text_or_too_long_are_counted(tmp_path, recipe, caplog):
    path = write_corpus(tmp_path, ["One.", "...", "", "two"])
    assert list(recipe.read_rows(path, str(tmp_path))) == ["u0", "u3"]
    assert "2 utterances without text" in caplog.text
    assert list(recipe.read_rows(path, str(tmp_path), limit=2)) == ["u0"]
    rows = (tmp_path / "test.csv").read_text().replace("u0,1.0", "u0,30.1")
    (tmp_path / "test.csv").write_text(rows)
    caplog.clear()
    assert recipe.read_rows(path, str(tmp_path))["u3"]["text"] == "two"
    assert "left out 1 utterances that are longer than the 30 s" in caplog.text


def test_a_language_of_a_csv_of_many(tmp_path, recipe):
    path = write_corpus(tmp_path, ["one", "deux", "three", "four"])
    languages = ["language", "eng", "fra", "eng", "eng"]
    lines = (tmp_path / "test.csv").read_text().splitlines()
    cells = [f"{line},{code}" for line, code in zip(lines, languages, strict=True)]
    (tmp_path / "test.csv").write_text("\n".join(cells) + "\n")
    assert list(recipe.read_rows(path, str(tmp_path), "eng", limit=2)) == ["u0", "u2"]
    with pytest.raises(ValueError, match="test.csv: no utterance has the language 'deu'; .*eng"):
        recipe.read_rows(path, str(tmp_path), "deu")


def test_settings_of_generation_that_are_no_whispers_are_an_error(tmp_path, recipe, whispers):
    folder = copied(whispers["a"], tmp_path / "copy", ["generation_config*"])
    GenerationConfig(eos_token_id=256).save_pretrained(folder)
    with pytest.raises(ValueError, match="copy: its generation_config.json has no no_timestamps"):
        recipe.load_whisper(folder)


@pytest.mark.parametrize("missing", ["tokenizer.json", "preprocessor_config", "generation_config"])
def test_a_file_that_no_folder_has_is_an_error_that_names_it(tmp_path, recipe, whispers, missing):
    folder = copied(whispers["a"], tmp_path / "copy", [f"{missing}*"])
    with pytest.raises(FileNotFoundError, match=rf"copy: has no .*{missing}.*--start"):
        recipe.load_whisper(folder, folder)
    assert recipe.load_whisper(folder, whispers["a"]).tokenizer.eos_token_id == 256


def test_what_cannot_transcribe_is_an_error(tmp_path, recipe, whispers):
    with pytest.raises(ValueError, match="'hubert' model"):
        recipe.load_whisper(save_small("hubert", tmp_path / "hubert"))
    alone = encoder_alone(whispers["a"], tmp_path / "alone")
    with pytest.raises(ValueError, match="alone: has no decoder.*--start"):
        recipe.load_whisper(alone)
    other = WhisperForConditionalGeneration.from_pretrained(
        whispers["a"], trust_remote_code=False, weights_only=True
    )
    state = {k: v for k, v in other.state_dict().items() if "encoder.conv1" not in k}
    other.save_pretrained(tmp_path / "broken", state_dict=state)
    with pytest.raises(ValueError, match=r"broken: its weights lack model\.encoder\.conv1\.bias"):
        recipe.load_whisper(str(tmp_path / "broken"), whispers["a"])


def test_a_start_of_another_size_or_vocabulary_is_an_error(tmp_path, recipe, whispers):
    alone = encoder_alone(whispers["a"], tmp_path / "alone")
    larger = save_small_whisper(tmp_path / "larger", vocab_size=301)
    with pytest.raises(ValueError, match="alone: the decoder of .*larger does not fit"):
        recipe.load_whisper(alone, larger)
    text = (tmp_path / "larger/config.json").read_text()
    changed = text.replace('"eos_token_id": 256', '"eos_token_id": 257')
    (tmp_path / "larger/config.json").write_text(changed)
    with pytest.raises(ValueError, match="end-of-text token is 256, .*257"):
        recipe.load_whisper(larger)


def test_errors_have_no_traceback(tmp_path, recipe, whispers):
    path = write_corpus(tmp_path, ["", ""])
    with pytest.raises(SystemExit, match="error: .*no utterance has a text"):
        recipe.main([path, "--data_folder", str(tmp_path), "--models", whispers["a"]])
