"""Few rows out of large tables, and the plane of the map."""

import numpy as np
import pyarrow as pa
import pytest

from mmcsal.contracts.clip import read_tensor
from mmcsal.contracts.ids import order_by_hash
from mmcsal.report.gather import gather, read_picks
from mmcsal.report.lookup import lowest_hash_ids, rows_of_ids
from mmcsal.report.plane import principal_plane
from mmcsal.report.spec import ReportSpec


class TestLookup:
    def test_lowest_hash_ids_are_the_head_of_the_order_that_everyone_agrees_on(self, default_run):
        ids = [f"clip_{i:04d}" for i in range(120)]
        expected = [ids[i] for i in order_by_hash(ids)]
        dataset = default_run.dataset("embeddings")
        assert lowest_hash_ids(dataset, 17) == expected[:17]
        assert lowest_hash_ids(dataset, 1000) == expected

    def test_rows_of_ids_reads_exactly_those(self, default_run):
        dataset = default_run.dataset("clips")
        wanted = ["clip_0119", "clip_0003", "clip_0050", "not there"]
        table = rows_of_ids(dataset, wanted, ["sample_id", "video", "duration_s"])
        assert sorted(table["sample_id"].to_pylist()) == ["clip_0003", "clip_0050", "clip_0119"]
        everything = dataset.to_table()
        index = everything["sample_id"].to_pylist().index("clip_0050")
        row = table["sample_id"].to_pylist().index("clip_0050")
        np.testing.assert_array_equal(read_tensor(table, "video")[row], read_tensor(everything, "video")[index])

    def test_contact_clips_belong_to_their_picks(self, default_run):
        clips = default_run.dataset("clips").to_table()
        ids = clips["sample_id"].to_pylist()
        sounds_NL = read_tensor(clips, "audio")
        contact = gather(default_run, ReportSpec(num_contact_clips=9)).contact
        assert [c.pick.rank for c in contact] == list(range(9))
        for clip in contact:
            np.testing.assert_array_equal(clip.sound_L, sounds_NL[ids.index(clip.pick.sample_id)])

    def test_map_is_bounded_and_holds_each_sample_once(self, default_run):
        points = gather(default_run, ReportSpec(num_map_points=40)).map_points
        assert points is not None
        assert len(points.picks_P2) == 32
        assert 40 - 32 <= len(points.pool_N2) <= 40


class TestPrincipalPlane:
    def test_finds_the_two_widest_directions(self):
        rng = np.random.default_rng(0)
        scaled_ND = rng.normal(size=(500, 5)) * [0.1, 3.0, 0.1, 1.0, 0.1]
        points_N2, explained_2 = principal_plane(scaled_ND)
        centered_ND = scaled_ND - scaled_ND.mean(axis=0)
        np.testing.assert_allclose(points_N2[:, 0], centered_ND[:, 1], atol=0.3)
        np.testing.assert_allclose(points_N2[:, 1], centered_ND[:, 3], atol=0.3)
        assert explained_2[0] > 0.85
        assert explained_2[0] + explained_2[1] <= 1

    def test_sign_follows_the_strongest_loading(self):
        vectors_ND = np.random.default_rng(1).normal(size=(60, 4)) * [4.0, 1.0, 0.5, 0.1]
        points_N2, _ = principal_plane(vectors_ND)
        assert np.corrcoef(points_N2[:, 0], vectors_ND[:, 0])[0, 1] > 0.9
        assert np.corrcoef(points_N2[:, 1], vectors_ND[:, 1])[0, 1] > 0.9

    @pytest.mark.parametrize("shape", [(1, 3), (4, 1), (2, 2)])
    def test_survives_too_few_rows_or_columns(self, shape):
        points_N2, explained_2 = principal_plane(np.ones(shape))
        assert points_N2.shape == (shape[0], 2)
        assert np.isfinite(points_N2).all()
        assert explained_2 == (0.0, 0.0)


def test_a_selection_older_than_its_newest_columns_is_read(make_run):
    run_dir = make_run(num_picks=3)
    table = run_dir.dataset("selection").to_table()
    run_dir.clear("selection")
    run_dir.write_part("selection", "part-00000.parquet", table.drop_columns(["runner_up", "cost"]))
    picks = read_picks(run_dir)
    assert [(p.sample_id, p.runner_up, p.cost) for p in picks] == [
        ("clip_0000", None, None),
        ("clip_0007", None, None),
        ("clip_0014", None, None),
    ]


def test_picks_hold_every_column_of_the_selection(default_run):
    rows = default_run.dataset("selection").to_table().sort_by("rank").to_pylist()
    picks = read_picks(default_run)
    assert [{name: getattr(pick, name) for name in rows[0]} for pick in picks] == rows


def test_a_metric_measured_twice_holds_its_later_value(make_run):
    run_dir = make_run()
    columns = {"stage": ["pretrain"], "epoch": pa.array([3], pa.int32()), "name": ["gap"], "value": [0.99]}
    run_dir.write_part("metrics", "part-00001.parquet", pa.table(columns))
    gap = next(s for s in gather(run_dir, ReportSpec(num_contact_clips=0)).series if s.name == "gap")
    assert gap.epochs == tuple(range(-1, 12))
    assert gap.values[gap.epochs.index(3)] == 0.99
