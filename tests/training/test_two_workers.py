"""Gradients of two real gloo workers against one process with the whole batch: model, BatchNorm and all losses."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.helpers import TIME_LIMIT_S

SCRIPT = Path(__file__).with_name("two_workers.py")


def load_script():
    spec = importlib.util.spec_from_file_location("two_workers", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = load_script()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where both workers have left their results."""
    path = tmp_path_factory.mktemp("workers")
    workers = [subprocess.Popen([sys.executable, str(SCRIPT), str(rank), str(path)]) for rank in range(2)]
    assert [worker.wait(TIME_LIMIT_S) for worker in workers] == [0, 0]
    return path


def whole(case: str) -> dict:
    rows = slice(0, script.BATCH_SIZE)
    if case == script.CLASSIFIER:
        return script.classifier_gradients(rows, wrap=False)
    return script.gradients(case, rows, wrap=False)


@pytest.mark.parametrize("case", [*script.CASES, script.CLASSIFIER])
def test_two_workers_have_the_gradients_of_one(case, folder):
    expected = whole(case)
    for rank in range(2):
        found = torch.load(folder / f"{case}-{rank}.pt")
        torch.testing.assert_close(found["loss"], expected["loss"], rtol=1e-9, atol=0)
        assert_same_gradients(found, expected)
        for name, buffer in expected["buffers"].items():
            torch.testing.assert_close(found["buffers"][name], buffer, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("case", script.CASES)
def test_both_workers_hold_the_dynamics_of_one(case, folder):
    expected = whole(case)["dynamics"]
    assert expected["num_seen_N"].tolist() == [1] * script.BATCH_SIZE
    for rank in range(2):
        found = torch.load(folder / f"{case}-{rank}.pt")["dynamics"]
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_micro_batches_have_the_gradients_of_the_whole_batch():
    expected, found = whole("default"), whole("micro batches")
    torch.testing.assert_close(found["loss"], expected["loss"], rtol=1e-9, atol=0)
    torch.testing.assert_close(found["dynamics"], expected["dynamics"], rtol=1e-6, atol=0)
    assert_same_gradients(found, expected)


def assert_same_gradients(found: dict, expected: dict) -> None:
    assert found["gradients"].keys() == expected["gradients"].keys()
    for name, gradient in expected["gradients"].items():
        error = (found["gradients"][name] - gradient).norm() / gradient.norm()
        assert error < 1e-6, (name, error)
