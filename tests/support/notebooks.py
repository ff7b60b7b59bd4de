"""Runs a notebook without Jupyter: its code cells in one process, with what they would show.

> python tests/support/notebooks.py examples/quickstart.ipynb

writes the outputs into the notebook, as Jupyter would.
"""

import ast
import contextlib
import io
import json
import sys
from pathlib import Path


def load(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run(notebook):
    """What each code cell prints, with the last expression's value, and the names at the end."""
    names, shown = {"__name__": "__main__"}, []
    for number, cell in enumerate(code_cells(notebook)):
        body = ast.parse("".join(cell["source"]), f"cell {number}").body
        last = ast.Expression(body.pop().value) if isinstance(body[-1], ast.Expr) else None
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(ast.Module(body, []), f"cell {number}", "exec"), names)
            value = last and eval(compile(last, f"cell {number}", "eval"), names)
        shown.append((printed.getvalue(), None if value is None else repr(value)))
    return shown, names


def outputs(printed, value, number):
    """A cell's outputs in the notebook's form."""
    found = []
    if printed:
        found.append(
            {"name": "stdout", "output_type": "stream", "text": printed.splitlines(keepends=True)}
        )
    if value is not None:
        data = {"text/plain": value.splitlines(keepends=True)}
        common = {"execution_count": number, "metadata": {}, "output_type": "execute_result"}
        found.append({"data": data} | common)
    return found


def write_outputs(path):
    notebook = load(path)
    shown, _ = run(notebook)
    for number, (cell, (printed, value)) in enumerate(
        zip(code_cells(notebook), shown, strict=True), start=1
    ):
        cell["execution_count"], cell["outputs"] = number, outputs(printed, value, number)
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    Path(path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_outputs(sys.argv[1])
