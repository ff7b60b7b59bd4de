"""The table of the Debian corpus: minutes of each language from each source.

Example
-------
``python -m data_prep.debian.table --csv_folder data/debian/random --readme data_prep/README.md``
"""

import argparse
import os

from data_prep.common.corpus import SPLITS
from masr_modules.data.corpus import load_csv
from masr_modules.results import format_table, replace_block


def corpus_table(rows: list[dict]) -> str:
    """Minutes of each language from each source, as a Markdown table.

    Arguments
    ---------
    rows : list of dict
        All utterances.

    Returns
    -------
    str
        One line a language, and one of all; below it the licences.

    Example
    -------
    >>> row = {"language": "fra", "source": "fillets", "duration": 90.0, "licence": "GPL-2"}
    >>> print(corpus_table([row]).splitlines()[2])
    | fra      | 1          | 1.5           | 1.5       |
    """
    sources = sorted({row["source"] for row in rows})
    lines: dict[str, dict[str, float]] = {}
    for row in sorted(rows, key=lambda row: row["language"]) + [
        row | {"language": "all"} for row in rows
    ]:
        line = lines.setdefault(row["language"], {"utterances": 0, "all": 0.0})
        line["utterances"] += 1
        for column in (row["source"], "all"):
            line[column] = line.get(column, 0.0) + row["duration"]
    columns = [("utterances", "utterances", "count")]
    columns += [(source, source, "minutes") for source in [*sources, "all"]]
    table = format_table({name: [line] for name, line in lines.items()}, columns, "language")
    licences = {
        source: sorted({row["licence"] for row in rows if row["source"] == source})
        for source in sources
    }
    told = "; ".join(f"{source} {', '.join(names)}" for source, names in licences.items())
    return f"{table}\n\nLicences: {told}."


def main() -> None:
    """Prints the table of a corpus, and replaces it in a file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--csv_folder", required=True, help="CSVs of the protocol `random`")
    parser.add_argument("--readme", help="file with the marks <!-- debian-corpus -->")
    arguments = parser.parse_args()
    rows = []
    for side in SPLITS:
        rows += load_csv(os.path.join(arguments.csv_folder, f"{side}.csv"), "").values()
    table = corpus_table(rows)
    print(table)
    if arguments.readme:
        replace_block(arguments.readme, "debian-corpus", table)


if __name__ == "__main__":
    main()
