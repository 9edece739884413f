from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.evidence.plain_lists import PlainLists
from lossdoctor.finding import Measurement, Remedy, Severity, Stage
from lossdoctor.rules._rule import Findings, Rule


@dataclass(frozen=True, kw_only=True)
class PythonLists(Rule):
    """The data are Python lists, which Keras does not take for arrays.

    **What it detects.** x or y handed over as a list of numbers, words or rows.

    **Why it matters.** To Keras a list holds one array for each input or output of the model. At
    fit it raises "Unrecognized data type", and where only y is a list it shows x in that message.

    **How it is measured.** From the type of the arguments of `check_config`; `fit` raises before
    any callback sees the data.

    **How to fix it.** `np.asarray`.

    **When it is wrong.** Older releases (TensorFlow with Keras 2) converted such lists themselves.

    **References.** Keras: `Model.fit`, arguments x and y. Measured on Keras 3.15.1:
    `tests/test_keras_facts.py`.
    """

    title = "Python lists instead of arrays"
    severity = Severity.ERROR
    stage = Stage.CONTRACT

    def check(self, lists: PlainLists) -> Findings:
        if lists.names:
            subject = " and ".join(lists.names)
            are = "are Python lists" if len(lists.names) > 1 else "is a Python list"
            yield self.finding(
                f"{subject} {are}, in which Keras looks for one array per input or output: it "
                'raises "Unrecognized data type" at fit.',
                measurements=[Measurement(name="lists", value=len(lists.names))],
                remedies=[
                    Remedy(
                        text="Make arrays of them; validation data as well.",
                        code="\n".join(f"{name} = np.asarray({name})" for name in lists.sides),
                    )
                ],
            )
