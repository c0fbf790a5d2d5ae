"""Every partition holds each of its samples once, as a clip or as a reject; one that does not is decoded again."""

import pyarrow as pa
import pytest

from mmcsal.config import load_config
from mmcsal.contracts.errors import MmcsalError
from mmcsal.datasets.synthetic.corpus import SyntheticSpec, generate
from mmcsal.distributed.stages import ingest
from mmcsal.distributed.stages.ingest import incomplete_parts, ingest_clips, scan_corpus
from mmcsal.storage.rundir import RunDir

PART = "part-00000.parquet"


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus") / "rendered"
    generate(SyntheticSpec(path=str(root), num_clips=12, num_broken=4, frame_size_px=32))
    media = "media={window_s: 2.0, num_frames: 4, frame_size_px: 32}"
    return load_config(None, [f"corpus={root / 'clips'}", media, "ingest.samples_per_partition=8"])


@pytest.fixture
def run_dir(config, tmp_path) -> RunDir:
    run_dir = RunDir(str(tmp_path / "run"))
    scan_corpus(config, run_dir, lambda *_: None)
    return run_dir


def write_results(run_dir: RunDir) -> None:
    """Each sample once: the first of a part as a reject, the others as clips."""
    for name in run_dir.parts("manifest"):
        ids = run_dir.read_part("manifest", name)["sample_id"]
        run_dir.write_part("rejects", name, pa.table({"sample_id": ids[:1]}))
        run_dir.write_part("clips", name, pa.table({"sample_id": ids[1:]}))


def lose_a_row(run_dir: RunDir, folder: str) -> None:
    table = run_dir.read_part(folder, PART)
    run_dir.write_part(folder, PART, table.slice(1))


def double_a_row(run_dir: RunDir, folder: str) -> None:
    table = run_dir.read_part(folder, PART)
    run_dir.write_part(folder, PART, pa.concat_tables([table, table.slice(0, 1)]))


def reject_a_clip(run_dir: RunDir, folder: str) -> None:
    clip = run_dir.read_part("clips", PART).slice(0, 1).select(["sample_id"])
    run_dir.write_part("rejects", PART, pa.concat_tables([run_dir.read_part("rejects", PART), clip]))


@pytest.mark.parametrize("folder", ["clips", "rejects"])
@pytest.mark.parametrize("damage", [lose_a_row, double_a_row, reject_a_clip])
def test_a_lost_or_doubled_row_is_found(run_dir, damage, folder):
    write_results(run_dir)
    assert incomplete_parts(run_dir) == []
    damage(run_dir, folder)
    assert incomplete_parts(run_dir) == [PART]


def test_damaged_partitions_are_decoded_again(shared_ray, config, run_dir, monkeypatch):
    receipt = ingest_clips(config, run_dir, lambda *_: None)
    whole = run_dir.dataset("clips").to_table()
    for damage in (lose_a_row, double_a_row):
        damage(run_dir, "clips")
        assert ingest_clips(config, run_dir, lambda *_: None) == receipt
        assert run_dir.dataset("clips").to_table().equals(whole)
    monkeypatch.setattr(ingest, "incomplete_parts", lambda _: [PART])
    with pytest.raises(MmcsalError, match=rf"1 partitions, first {PART}.* 3 times in a row"):
        ingest_clips(config, run_dir, lambda *_: None)
