import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

CELLS = (
    "from lossdoctor import diagnose\nreport = diagnose({'loss': [1.0, float('nan')]})\nreport",
    "report.plot()",
    "report.print()",
)


def executed(*cells):
    """The outputs of each of the cells."""
    made = [nbformat.v4.new_code_cell(source) for source in cells]
    notebook = nbformat.v4.new_notebook(cells=made)
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    return [[*cell.outputs] for cell in notebook.cells]


def test_a_notebook_shows_the_report_the_figure_and_the_text(monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)  # Jupyter's own backend draws inline
    shown, plotted, printed = executed(*CELLS)
    assert shown[0].data["text/html"].lstrip().startswith("<style>")
    assert "image/png" in plotted[0].data
    assert "LossDoctor: this history" in printed[0].text


def test_live_messages_share_one_display_that_grows_in_place():
    ((output,),) = executed(
        "from lossdoctor.report.live import _Lines\n"
        "lines = _Lines()\n"
        "lines.say('first <b>')\n"
        "lines.say('second')\n"
    )
    assert output.data == {
        "text/plain": "first <b>\nsecond",
        "text/html": "<pre>first &lt;b&gt;\nsecond</pre>",
    }
