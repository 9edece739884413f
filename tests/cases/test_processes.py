"""Work done in several processes comes to an end, however many tasks there are."""

from lossdoctor.validation import training


def twice(number):
    return 2 * number


def test_more_tasks_than_a_pool_of_processes_does(monkeypatch):
    monkeypatch.setattr(training, "_TASKS_PER_PROCESS", 2)
    results = training.in_processes(twice, range(9), 2, None, str)
    assert sorted(results) == [2 * number for number in range(9)]
