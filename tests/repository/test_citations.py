"""Papers: each that a file names has an entry in docs/references.bib, and in CITATION.cff."""

import re
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
#: Such as 2307.10982, with year and month, and no part of a longer number.
NUMBER = re.compile(r"(?<![\d.])(?:0[7-9]|1\d|2\d)(?:0[1-9]|1[0-2])\.\d{5}(?![\d.]*\d)")
#: Files of measured numbers and of coordinates.
NO_TEXT = {".csv", ".svg", ".png"}
LISTS = ("docs/references.bib", "CITATION.cff")


def arxiv_numbers(text):
    """Numbers after "arXiv", in a link or alone; several may follow one another.

    Line breaks and what begins a comment may stand in between.
    """
    found = re.findall(rf"arxiv[^\d]{{0,16}}((?:{NUMBER.pattern}[,;\s]*)+)", text, re.I)
    return {number for group in found for number in NUMBER.findall(group)}


def tracked_files():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    paths = [Path(name) for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.suffix not in NO_TEXT and (ROOT / path).is_file()]


def named():
    """arXiv number -> the first file that names it, of all but the two lists."""
    found = {}
    for path in tracked_files():
        if path.as_posix() not in LISTS and path.name != Path(__file__).name:
            for number in arxiv_numbers((ROOT / path).read_text(encoding="utf-8")):
                found.setdefault(number, path)
    return found


def bibliography():
    """Entries of references.bib: key -> its fields."""
    text = (ROOT / LISTS[0]).read_text(encoding="utf-8")
    entries = {}
    for key, body in re.findall(r"^@\w+\{(\w+),\n(.*?)^\}", text, re.M | re.S):
        assert key not in entries, key
        entries[key] = dict(re.findall(r"^  (\w+) += \{(.*)\},$", body, re.M))
    assert len(entries) == text.count("\n@")
    return entries


def plain(title):
    return title.replace("{", "").replace("}", "")


def authors_of(field):
    """(family, given) of each author; a group has no given name."""
    people = [plain(person).partition(", ") for person in field.split(" and ")]
    return [(family, given) for family, _, given in people]


CITED = YAML(typ="safe").load((ROOT / LISTS[1]).read_text(encoding="utf-8"))["references"]


def test_numbers_are_found_where_they_stand():
    text = "(arXiv 1706.08612, 1806.05622); arXiv\n# 2105.01051; arxiv.org/abs/2202.01855v2;"
    text += " arXiv:2307.10982. 2106.04624 s; a loss of 1001.12345"
    assert arxiv_numbers(text) == {
        "1706.08612",
        "1806.05622",
        "2105.01051",
        "2202.01855",
        "2307.10982",
    }


def test_every_paper_that_a_file_names_is_in_the_bibliography():
    numbers = {entry.get("eprint") for entry in bibliography().values()}
    lacking = {number: str(path) for number, path in named().items() if number not in numbers}
    assert not lacking, f"docs/references.bib has no entry for {lacking}"
    assert len(named()) > 20


def test_every_paper_that_a_file_names_is_in_citation_cff():
    numbers = {n for entry in CITED for n in arxiv_numbers(entry.get("url", ""))}
    lacking = {number: str(path) for number, path in named().items() if number not in numbers}
    assert not lacking, f"CITATION.cff has no entry for {lacking}"


def test_both_lists_say_the_same():
    cited = {entry["title"]: entry for entry in CITED}
    entries = {plain(entry["title"]): entry for entry in bibliography().values()}
    assert cited.keys() == entries.keys() and len(cited) == len(CITED)
    for title, entry in entries.items():
        other = cited[title]
        people = [
            (p.get("family-names", p.get("name")), p.get("given-names", ""))
            for p in other["authors"]
        ]
        assert people == authors_of(entry["author"]), title
        assert other["year"] == int(entry["year"]), title
        url = f"https://arxiv.org/abs/{entry['eprint']}" if "eprint" in entry else None
        assert other.get("url") == url, title
        place = other.get("conference", {}).get("name") or other.get("journal")
        assert place == (entry.get("booktitle") or entry.get("journal")), title


@pytest.mark.parametrize(
    "what",
    ["Circle Loss", "No Fuss", "Proxy Anchor", "CosFace", "Partial Labels", "Geolocation-Aware"]
    + ["Supervised Contrastive", "X-Sample", "URIEL+", "Random-projection", "wav2vec 2.0"]
    + ["w2v-BERT", "HuBERT", "data2vec"],
)
def test_what_the_method_rests_on_is_cited(what):
    assert any(what in entry["title"] for entry in CITED)


def test_readme_asks_for_the_same_entry_as_the_bibliography():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.sub(r"\s+", " ", re.search(r"```bibtex\n(.*?)```", text, re.S)[1])
    entry = bibliography()["raj2023masr"]
    assert entry["title"] in block and entry["author"] in block and entry["eprint"] in block
