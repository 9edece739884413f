from lossdoctor.evidence import NotRecorded
from lossdoctor.record.run import RunRecord


def test_the_reason_is_the_recorders_own_before_any_advice():
    record = RunRecord(source="run", not_recorded={"gradients": "the loop is your own"})
    assert str(NotRecorded.of(record, "gradients", "run with LossDoctor()")) == (
        "gradients: the loop is your own"
    )


def test_a_recorded_run_is_not_told_to_record():
    def reason(source, how):
        return str(NotRecorded.of(RunRecord(source=source), "it", how))

    assert reason("history", "run with LossDoctor()") == "it: run with LossDoctor()"
    assert reason("run", "run with LossDoctor()") == "it: not in this run's record"
    assert reason("run", "pass validation_data=") == "it: pass validation_data="
