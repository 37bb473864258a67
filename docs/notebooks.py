"""The examples as notebooks: `python -m docs.notebooks` writes examples/NAME.ipynb of each script.

The docstring of a script is its title and its text. It is cut into cells where a line begins with
`# %%`, and what stands behind these signs is told above the cell.
"""

import ast
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

EXAMPLES = Path(__file__).parents[1] / "examples"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
INDEX = """# Examples

Small whole scripts, shown here as notebooks with what they print. In the source they lie in
`examples`, each as a script (`python examples/exact.py`) and as its notebook.

```{toctree}
:maxdepth: 1

"""


def notebook(script: str) -> NotebookNode:
    """A script's cells, not executed; the same text makes the same notebook, to the byte."""
    tree = ast.parse(script)
    title, _, text = (ast.get_docstring(tree) or "").partition("\n")
    lines = script.splitlines()[tree.body[0].end_lineno :]
    first, *rest = re.split(r"^# %% ?(.*)\n", "\n".join(lines), flags=re.MULTILINE)
    cells = [new_markdown_cell(f"# {title.rstrip('.')}\n{text}".strip())]
    cells += [new_code_cell(first.strip())]
    for told, code in zip(rest[::2], rest[1::2]):
        cells += [new_markdown_cell(told), new_code_cell(code.strip())]
    for k, cell in enumerate(cells):
        cell.id = f"cell-{k}"  # by place: those of nbformat are drawn by chance
    return new_notebook(cells=cells, metadata={"kernelspec": KERNEL})


def notebooks() -> dict[str, str]:
    """The content of each notebook by its name."""
    scripts = sorted(EXAMPLES.glob("*.py"))
    return {p.stem: nbformat.writes(notebook(p.read_text())) + "\n" for p in scripts}


def pages() -> dict[str, str]:
    """The same as pages of the site, with a list of them."""
    made = {f"{name}.ipynb": text for name, text in notebooks().items()}
    listed = "\n".join(name.removesuffix(".ipynb") for name in made)
    return made | {"index.md": f"{INDEX}{listed}\n```\n"}


if __name__ == "__main__":
    for name, text in notebooks().items():
        (EXAMPLES / f"{name}.ipynb").write_text(text)
