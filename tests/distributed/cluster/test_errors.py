from ray.exceptions import RayTaskError

from mmcsal.contracts.errors import TableError
from mmcsal.distributed.cluster.errors import first_line_of, mmcsal_error_in


def test_our_error_comes_out_of_rays_wrapper_without_the_trace_of_the_task():
    """The wrapper is an instance of our class too: taken for our error, it would show the reader a trace."""
    ours = TableError("part-3.parquet: column 'video' is missing")
    wrapped = RayTaskError("over_shard", "Traceback (most recent call last) ...", ours).as_instanceof_cause()
    assert isinstance(wrapped, TableError)
    outer = RuntimeError("stage failed")
    outer.__cause__ = wrapped
    assert mmcsal_error_in(outer) is ours


def test_our_error_comes_out_of_what_ray_train_keeps_of_its_workers():
    ours = TableError("part-3.parquet: column 'video' is missing")
    error = RuntimeError("Training failed due to worker errors")
    error.worker_failures = {0: RuntimeError("connection reset"), 1: ours}
    assert mmcsal_error_in(error) is ours


def test_errors_of_others_are_not_told():
    assert mmcsal_error_in(RuntimeError("boom")) is None
    assert mmcsal_error_in(None) is None


def test_a_loss_is_told_in_one_line_without_colours():
    loss = OSError("\x1b[36mray::task()\x1b[0m was lost\nand more")
    error = RayTaskError("task", "Traceback ...", loss).as_instanceof_cause()
    assert first_line_of(error) == "ray::task() was lost"
