"""Variables of the recorder inside traced steps."""

import gc

import numpy as np
import pytest
import tensorflow as tf

from lossdoctor.record.step_variable import StepVariable, read, write

pytestmark = pytest.mark.train


def count(variable):
    handle = variable.handle
    write(handle, read(handle, tf.float32) + 1)


@pytest.mark.parametrize("jit", [False, True])
def test_it_is_the_same_variable_in_every_trace_and_on_the_host(jit):
    variable = StepVariable(np.zeros(3, np.float32))

    @tf.function(jit_compile=jit)
    def step(x):
        count(variable)
        return x

    step(tf.zeros([1]))
    step(tf.zeros([2]))
    variable.assign(variable.peek() * 10)
    step(tf.zeros([2]))
    np.testing.assert_array_equal(variable.peek(), [21, 21, 21])


def test_steps_in_a_loop_keep_their_order():
    variable = StepVariable(np.float32(0))

    @tf.function
    def steps(n):
        for _ in tf.range(n):
            count(variable)

    steps(1000)
    assert float(variable.peek()) == 1000


def test_garbage_collected_while_a_function_is_traced_leaves_it_alone():
    variable = StepVariable(np.float32(0))
    cycle = [StepVariable(np.float32(0))]
    name = cycle[0]._place["shared_name"]
    cycle.append(cycle)

    @tf.function
    def step():
        nonlocal cycle
        cycle = None
        gc.collect()
        count(variable)

    step()
    step()
    assert float(variable.peek()) == 2
    assert not any(
        op.type == "DestroyResourceOp" for op in step.get_concrete_function().graph.get_operations()
    )
    again = tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[], shared_name=name)
    assert not tf.raw_ops.VarIsInitializedOp(resource=again)


def test_names_are_used_again_but_not_values():
    """TensorFlow never forgets a name: thousands of fits in one process would fill the memory."""
    names = set()
    for _ in range(20):
        variable = StepVariable(np.arange(17, dtype=np.float32))
        assert variable.peek()[3] == 3
        variable.assign(np.zeros(17, np.float32))
        names.add(variable._place["shared_name"])
        del variable
    assert len(names) == 1
