"""A small synthetic corpus, rendered once for all tests of it."""

import shutil

import pytest

from mmcsal.datasets import SyntheticSpec
from mmcsal.datasets.synthetic.corpus import generate


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> SyntheticSpec:
    """26 whole clips and every kind of broken file; tests read it and leave it as it is."""
    spec = SyntheticSpec(
        path=str(tmp_path_factory.mktemp("corpus") / "small"),
        num_clips=26,
        num_broken=8,
        duration_s=1.0,
        frame_size_px=64,
        near_duplicate_fraction=0.2,
    )
    generate(spec, num_workers=1)
    return spec


@pytest.fixture
def small_copy(small, tmp_path) -> SyntheticSpec:
    shutil.copytree(small.path, tmp_path / "copy")
    return small.model_copy(update={"path": str(tmp_path / "copy")})
