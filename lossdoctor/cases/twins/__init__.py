"""The broken twins: each is a healthy case with one fault, and says which rule must name it."""

from lossdoctor.cases.twins.architecture import ARCHITECTURE
from lossdoctor.cases.twins.budget import BUDGET
from lossdoctor.cases.twins.contract import CONTRACT
from lossdoctor.cases.twins.examples import EXAMPLES
from lossdoctor.cases.twins.step_size import STEP_SIZE

__all__ = ["TWINS"]

TWINS = (*STEP_SIZE, *EXAMPLES, *CONTRACT, *ARCHITECTURE, *BUDGET)
