#!/usr/bin/env python3
"""Writes all tables and pictures of the studies from the records, and trains nothing.

> python recipes/study/tables.py

`studies.yaml` names the files. A table of a study stands between `<!-- pretrain-STUDY -->` and
`<!-- /pretrain-STUDY -->`; tables of downstream tasks are in the READMEs of their recipes. The
index of all results, `docs/results/README.md`, has the rows of `results.yaml`.
"""

import re
from collections.abc import Mapping
from math import isfinite
from pathlib import Path

from masr_modules.config.extras import extra
from masr_modules.downstream.tables import MINUTES, blocks, downstream_record, rows_of
from masr_modules.downstream.task import Task, find_tasks
from masr_modules.knowledge.descent import branches, display_name, order_by_descent
from masr_modules.metrics.intervals import Difference
from masr_modules.metrics.plots import (
    STYLES,
    Panel,
    draw_curves,
    draw_intervals,
    draw_rows,
    save_figure,
)
from masr_modules.metrics.tables import (
    PRETRAIN_COLUMNS,
    align,
    column_title,
    format_cell,
    replace_block,
)
from masr_modules.reporting.comparison import difference, estimate, table_columns
from masr_modules.reporting.pretrain_record import RATES, load_labels, pretrain_record
from masr_modules.reporting.results_index import Experiment, Figures, ResultsIndex
from masr_modules.reporting.study import METHODS, Comparison, Studies, Study

with extra("report"):
    from matplotlib.figure import Figure

ROOT = Path(__file__).parents[2]
STUDIES = Studies(Path(__file__).with_name("studies.yaml"))
DOWNSTREAM = ROOT / "recipes/downstream/runs.csv"
INDEX = ResultsIndex(Path(__file__).with_name("results.yaml"))
INDEX_PAGE, INDEX_BLOCK = "docs/results/README.md", "results-index"
#: Corpus -> the page that holds the tables of all tasks on it, from the repository's root.
TASK_PAGES = {"people": "docs/results/people_tasks.md"}
#: The two systems that the index compares.
OURS, BASELINE = "MASR", "SSL only"


def read_record() -> dict[str, Comparison]:
    """Reads the record of each SSL method, and of each experiment of its own."""
    found = {
        name: Study(name, [], ssl=name)  # methods without a study have records too
        for name in METHODS
    } | {study.kind: study for study in STUDIES.values()}
    return {kind: _comparison(study) for kind, study in found.items()}


def _comparison(study: Study) -> Comparison:
    path = ROOT / study.record
    labels = path.with_name("test_labels.csv")
    return Comparison(
        STUDIES,
        ROOT / "hparams" / study.yaml,
        study.ssl,
        pretrain_record(path),
        load_labels(labels) if labels.is_file() else {},
    )


def fill_blocks(study: Study, comparison: Comparison, root: Path) -> None:
    """Puts a study's tables into the blocks for them in its files.

    Nothing is written where no run is recorded yet.

    Raises
    ------
    ValueError
        If a file has no block for any of the tables; the message names the file and a block.
    """
    if not study.files or not any(comparison.recorded(arm, study.seeds) for arm in study.arms):
        return
    tables = comparison.tables(study, study.arms, study.seeds, study.against)
    tables = {f"pretrain-{name}": table for name, table in tables.items()}
    for path in (root / file for file in study.files):
        text = path.read_text(encoding="utf-8")
        for block in [block for block in tables if f"<!-- {block} -->" in text] or tables:
            replace_block(path, block, tables[block])
            print(f"{path.relative_to(root)}: {block}")


def summary(comparisons: Mapping[str, Comparison]) -> str:
    """Makes the table of systems over several studies, with means and 95 % intervals."""
    columns, body = STUDIES.summary["columns"], []
    for title, part in STUDIES.summary["parts"].items():
        study = STUDIES[part["study"]]
        comparison = comparisons[study.kind]
        there = {key for _, key, _ in table_columns(comparison.labels)}
        for arm in [*part["floors"], *study.arms]:
            if not (seeds := comparison.recorded(arm, study.seeds)):
                continue
            metrics = [next((k for k in keys if k in there), "") for keys in columns.values()]
            found = [m and _estimate(study, comparison, arm, m) for m in metrics]
            body.append([title, arm, str(len(seeds)), *map(_mean_and_interval, found)])
            title = ""
    return align(["trained on", "system", "seeds", *columns], body)


def _mean_and_interval(found: tuple[float, ...]) -> str:
    """Formats percentages, with the interval if there is one, cut to the range 0 to 100."""
    if not found:
        return ""
    mean, low, high = found
    low, high = max(low, 0.0), min(high, 100.0)
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]" if isfinite(low) else f"{mean:.1f}"


def fill_downstream(root: Path) -> None:
    """Puts the tables of downstream tasks into the READMEs of their recipes, or on TASK_PAGES."""
    tasks = list(find_tasks(ROOT / "recipes").values())
    for (folder, block), table in blocks(downstream_record(DOWNSTREAM), tasks).items():
        corpus = block.partition("-")[0]
        path = root / TASK_PAGES.get(corpus, f"recipes/{folder}/README.md")
        replace_block(path, block, table)
        print(f"{path.relative_to(root)}: {block}")


def fill_index(root: Path, comparisons: Mapping[str, Comparison]) -> None:
    """Puts the table of all experiments into the index of results."""
    tasks = {task.name: task for task in find_tasks(ROOT / "recipes").values()}
    figures = {}
    for row in INDEX.experiments:
        if row.study:
            figures[row.yaml] = _study_figures(row, comparisons)
        elif row.task:
            figures[row.yaml] = _task_figures(row, tasks[row.task])
    replace_block(root / INDEX_PAGE, INDEX_BLOCK, INDEX.table(figures, "docs/results"))
    print(f"{INDEX_PAGE}: {INDEX_BLOCK}")


def _study_figures(row: Experiment, comparisons: Mapping[str, Comparison]) -> Figures:
    """Collects the figures of a study's last arm, the one that is compared with the others."""
    study = STUDIES[row.study]
    comparison, arm = comparisons[study.kind], study.arms[-1]
    columns = [c for c in table_columns(comparison.labels) if c[1] in row.metrics]
    found = comparison.metrics([arm, BASELINE], study.seeds)
    time = _recorded_time() if row.yaml == METHODS["best_rq"] else ""
    return Figures(found[arm], found[BASELINE], columns, arm.removeprefix(OURS), time)


def _recorded_time() -> str:
    """Reads the time of `make pretrain` from the recipe's page."""
    text = (ROOT / "recipes/pretrain/README.md").read_text(encoding="utf-8")
    (run,) = re.findall(r"<!-- pretrain-run -->\n(.*?)<!-- /pretrain-run -->", text, re.S)
    return f"{re.findall(r'took ([0-9]+ s)', run)[0]}, corpus and table included"


def _task_figures(row: Experiment, task: Task) -> Figures:
    """Collects the figures of a task on frozen encoders."""
    rows = rows_of(downstream_record(DOWNSTREAM), row.corpus, task)
    ours, baseline = (rows.get((system, "frozen"), []) for system in (OURS, BASELINE))
    columns = [tuple(column) for column in task.columns if column.key in row.metrics]
    minutes = format_cell([metrics[MINUTES] for metrics in ours], "minutes")
    return Figures(ours, baseline, columns, ", frozen", f"{minutes} min of training")


def draw(study: Study, comparison: Comparison) -> Figure | None:
    """Draws a study's picture; None where it is a curve and no system has two points yet."""
    styles, panels = _styles(), []
    for title, metric, kind in table_columns(comparison.labels):
        if metric not in study.picture["metrics"]:
            continue
        values = {system: _estimates(study, comparison, system, metric) for system in study.systems}
        values = {system: curve for system, curve in values.items() if curve}
        panels.append(Panel(column_title((title, metric, kind)), metric in RATES, values))
    if study.axis:
        drawable = any(len(curve) > 1 for panel in panels for curve in panel.values.values())
        return draw_curves(panels, study.axis, styles) if drawable else None
    seeds = {name: len(comparison.recorded(name, study.seeds)) for name in study.systems}
    named = {name: f"{name} ({count} seed{'s' * (count != 1)})" for name, count in seeds.items()}
    panels = [
        panel._replace(values={named[name]: curve[0] for name, curve in panel.values.items()})
        for panel in panels
    ]
    return draw_intervals(panels, {named[name]: styles[name] for name in named})


def draw_languages(study: Study, comparison: Comparison) -> Figure:
    """Draws the picture with a row for each language, with relatives side by side."""
    metric, other, last = study.languages["metric"], study.languages["less"], study.arms[-1]
    (title,) = (column_title(column) for column in PRETRAIN_COLUMNS if column[1] == metric)
    codes = order_by_descent([row["language"] for row in comparison.labels.values()])
    names, group = {code: display_name(code) for code in codes}, branches(codes, most=len(STYLES))
    values = {
        arm: {names[code]: _estimate(study, comparison, arm, metric, [code]) for code in codes}
        for arm in study.arms
        if comparison.recorded(arm, study.seeds)
    }
    pair = [comparison.system(arm) for arm in (last, other)]
    gains = {
        names[code]: _percent(
            difference(comparison.record, *pair, metric, comparison.labels, [code])
        )
        for code in codes
    }
    panels = [
        Panel(title, False, values),
        Panel(f"{last} less {other} (points)", False, {last: gains}),
    ]
    return draw_rows(panels, {names[code]: group[code] for code in codes}, _styles())


def _styles() -> dict[str, tuple[str, str]]:
    """Maps each system to its colour and marker, which are the same in all pictures."""
    return dict(zip(STUDIES.systems, STYLES, strict=False))


def _estimates(study: Study, comparison: Comparison, system: str, metric: str) -> dict:
    """Maps each place on the curve to the recorded mean and its interval."""
    curve = {at: _estimate(study, comparison, arm, metric) for at, arm in study.curve(system)}
    return {at: found for at, found in curve.items() if found}


def _estimate(
    study: Study, comparison: Comparison, arm: str, metric: str, only: list[str] | None = None
) -> tuple[float, ...]:
    system, labels = comparison.system(arm), comparison.labels
    return _percent(estimate(comparison.record, system, metric, labels, study.seeds, only))


def _percent(found: Difference | None) -> tuple[float, ...]:
    """Returns mean and interval in percent; empty where nothing is recorded."""
    return tuple(100 * value for value in found or ())


def rebuild(root: Path = ROOT, comparisons: Mapping[str, Comparison] | None = None) -> None:
    """Writes every block and picture that the studies declare."""
    comparisons = comparisons or read_record()
    for study in STUDIES.values():
        comparison = comparisons[study.kind]
        fill_blocks(study, comparison, root)
        figure = draw(study, comparison) if study.picture else None
        if figure:
            save_figure(figure, root / study.picture["file"])
            print(study.picture["file"])
        if study.languages:
            save_figure(draw_languages(study, comparison), root / study.languages["file"])
            print(study.languages["file"])
    replace_block(root / STUDIES.summary["file"], "summary", summary(comparisons))
    print(f"{STUDIES.summary['file']}: summary")
    fill_downstream(root)
    fill_index(root, comparisons)


if __name__ == "__main__":
    rebuild()
