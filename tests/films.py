"""What tests on self-describing media share: the painted films, and the cases that ffmpeg makes of them."""

from pathlib import Path

import pytest

from benchmarks.spelled.cases import has_ffmpeg, make_films
from benchmarks.spelled.kinds import all_cases

CASES = {case.name: case for case in all_cases()}
needs_ffmpeg = pytest.mark.skipif(not has_ffmpeg(), reason="no ffmpeg: apt-get install ffmpeg")


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the films."""
    folder = tmp_path_factory.mktemp("films")
    make_films(folder)
    return folder
