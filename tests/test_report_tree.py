from lossdoctor.report.tree import tree
from tests.reports import caused, finding


def shape(nodes):
    return [(node.finding.rule, shape(node.children)) for node in nodes]


def test_findings_hang_below_their_cause():
    assert shape(tree(caused())) == [
        ("cause", [("symptom", [("late_symptom", [])])]),
        ("other_cause", []),
        ("note", []),
    ]


def test_what_a_rule_explains_hangs_below_the_last_of_its_findings():
    nodes = tree(
        (
            finding("cause", message="a", explains=("effect",)),
            finding("cause", message="b", explains=("effect",)),
            finding("effect", explained_by="cause"),
        )
    )
    assert shape(nodes) == [("cause", []), ("cause", [("effect", [])])]


def test_a_finding_whose_cause_is_absent_stands_on_its_own():
    assert shape(tree((finding("effect", explained_by="gone"),))) == [("effect", [])]


def test_nothing_found():
    assert tree(()) == ()
