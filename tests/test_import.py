import importlib.metadata
import subprocess
import sys

import pytest

import lossdoctor

PROBE = """
import sys, time
start = time.perf_counter()
import lossdoctor
seconds = time.perf_counter() - start
heavy = {"tensorflow", "keras", "numpy", "matplotlib", "pydantic", "rich"} & set(sys.modules)
print(seconds, *sorted(heavy))
"""


def fresh(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    ).stdout


def test_importing_is_instant_and_imports_nothing_heavy():
    runs = [fresh(PROBE).split() for _ in range(3)]
    assert runs[0][1:] == []
    assert min(float(run[0]) for run in runs) < 0.3


@pytest.mark.parametrize(
    "code",
    [
        "from lossdoctor import Finding, Report, Rule, RunRecord, default_rules, diagnose",
        "import lossdoctor.cli",
        "import lossdoctor.cases; lossdoctor.cases.cases()",
        "import lossdoctor; lossdoctor.diagnose({'loss': [1.0, 0.5]})",
    ],
)
def test_what_does_not_train_does_not_import_tensorflow(code):
    found = fresh(f"import sys\n{code}\nprint({{'tensorflow', 'keras'}} & set(sys.modules))")
    assert found.strip() == "set()"


def test_every_public_name_resolves():
    for name in lossdoctor.__all__:
        assert getattr(lossdoctor, name) is not None
    assert set(lossdoctor.__all__) <= set(dir(lossdoctor))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = lossdoctor.nonsense


def test_version_is_that_of_the_package():
    assert lossdoctor.__version__ == importlib.metadata.version("lossdoctor")
