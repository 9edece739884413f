"""The walkthroughs run from a clean kernel, and are committed with what they print and draw.

What their text says was found, their own cells assert.
"""

import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbclient and nbformat run the notebooks")
nbclient = pytest.importorskip("nbclient", reason="nbclient runs the notebooks")
pytest.importorskip("ipykernel", reason="ipykernel is the kernel that the notebooks run on")

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 600_000
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def _code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _errors(notebook):
    outputs = [output for cell in _code_cells(notebook) for output in cell.outputs]
    return [output for output in outputs if output.output_type == "error"]


def test_the_readme_lists_every_notebook():
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"notebooks/(\w+)\.ipynb", readme))
    assert listed == {path.stem for path in NOTEBOOKS} != set()


@each_notebook
def test_a_notebook_links_to_notebooks_that_exist(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            linked = re.findall(r"\]\((\w+\.ipynb)\)", cell.source)
            assert all((FOLDER / name).exists() for name in linked), linked


@each_notebook
def test_a_notebook_is_small_enough_to_be_opened_in_a_browser(path):
    assert path.stat().st_size <= MOST_BYTES


@each_notebook
def test_a_notebook_is_committed_as_executed_in_order(path):
    notebook = nbformat.read(path, as_version=4)
    cells = _code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert any(cell.outputs for cell in cells)
    assert not _errors(notebook)


@each_notebook
def test_a_committed_notebook_says_nothing_of_the_machine_it_ran_on(path):
    for cell in _code_cells(nbformat.read(path, as_version=4)):
        assert "execution" not in cell.metadata
        for output in cell.outputs:
            text = output.get("text", "") + output.get("data", {}).get("text/plain", "")
            assert output.get("name") != "stderr"
            assert not any(place in text for place in ("/tmp/", "/home/", "/work/", "C:\\"))


@pytest.mark.train
@each_notebook
def test_a_notebook_runs_from_a_clean_kernel(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    for cell in _code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    client = nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    assert not _errors(notebook)
    assert not list(tmp_path.iterdir()), "a notebook writes to temporary folders only"
