import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

CELLS = (
    "from lossdoctor import diagnose\nreport = diagnose({'loss': [1.0, float('nan')]})\nreport",
    "report.plot()",
    "report.print()",
)


def test_a_notebook_shows_the_report_the_figure_and_the_text(monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)  # Jupyter's own backend draws inline
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown, plotted, printed = ([*cell.outputs] for cell in notebook.cells)
    assert shown[0].data["text/html"].lstrip().startswith("<style>")
    assert "image/png" in plotted[0].data
    assert "LossDoctor: this history" in printed[0].text
