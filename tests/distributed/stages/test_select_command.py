"""`mmcsal select` over files of embeddings, as they come: every fault ends in one line that says what to do."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcsal import select_pairs
from mmcsal.cli import main
from mmcsal.config import load_config
from mmcsal.contracts.embedding import read_vectors, vector_column
from mmcsal.contracts.manifest import MANIFEST
from mmcsal.contracts.table import conform
from mmcsal.distributed.stages.select import select_clips
from mmcsal.selection import SelectSpec
from mmcsal.selection.spec import TotalCost
from mmcsal.storage.rundir import RunDir

pytestmark = pytest.mark.usefixtures("shared_ray")
NUM_ROWS = 24
IDS = [f"clip-{i}" for i in range(NUM_ROWS)]
REJECT = "select.bad_rows=reject"


@dataclass
class Done:
    code: int
    line: str  # the last of stderr
    run_dir: RunDir

    @property
    def selection(self) -> pa.Table:
        return self.run_dir.dataset("selection").to_table()


@pytest.fixture
def select(tmp_path, monkeypatch, capsys):
    """Runs `mmcsal select` over these tables, one a file, in this process and its Ray."""
    monkeypatch.chdir(tmp_path)

    def run(*tables: pa.Table | bytes, budget: str = "3", overrides: tuple[str, ...] = ()) -> Done:
        (tmp_path / "e").mkdir(exist_ok=True)
        for n, table in enumerate(tables):
            if isinstance(table, bytes):
                (tmp_path / "e" / f"{n}.parquet").write_bytes(table)
            else:
                pq.write_table(table, tmp_path / "e" / f"{n}.parquet")
        command = ["mmcsal", "select", "--embeddings", "e", "--budget", budget, "--out", "o", *overrides]
        monkeypatch.setattr(sys, "argv", command)
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        told = capsys.readouterr().err
        assert "Traceback" not in told
        return Done(code, told.strip().splitlines()[-1], RunDir(str(tmp_path / "o")))

    return run


@pytest.fixture
def refused(select):
    """The one line of a selection that is refused; nothing of it is left where a reader would look."""

    def run(*tables: pa.Table | bytes, code: int = 2, **arguments) -> str:
        done = select(*tables, **arguments)
        assert done.code == code, done.line
        assert done.line.startswith("mmcsal: error: ")
        assert done.run_dir.committed("selection") is None
        assert done.run_dir.parts("selection") == done.run_dir.parts("candidates") == []
        return done.line

    return run


@pytest.fixture
def pool(pool_table) -> pa.Table:
    return pool_table(NUM_ROWS).select(["sample_id", "video_embedding", "audio_embedding"])


def replaced(pool: pa.Table, **columns: pa.Array) -> pa.Table:
    for name, column in columns.items():
        pool = pool.set_column(pool.schema.get_field_index(name), name, column)
    return pool


def with_vector(pool: pa.Table, name: str, value: float | None, *rows: int) -> pa.Table:
    """The pool with some vectors full of a value, or null."""
    vectors = pool[name].to_pylist()
    for row in rows:
        vectors[row] = None if value is None else [value] * len(vectors[row])
    return replaced(pool, **{name: pa.array(vectors, pool.schema.field(name).type)})


@pytest.mark.parametrize(
    ("value", "what"),
    [(np.nan, "NaN or infinite"), (np.inf, "NaN or infinite"), (0.0, "a zero vector"), (None, "no vector")],
)
def test_bad_vectors(refused, pool, value, what):
    line = refused(with_vector(pool, "audio_embedding", value, 3, 7))
    for told in (what, "0.parquet: 2 of 24 rows", "'audio_embedding'", "['clip-3', 'clip-7']", REJECT):
        assert told in line


def test_repeated_ids(refused, pool):
    line = refused(replaced(pool, sample_id=pa.array([IDS[0], IDS[0], *IDS[2:]])))
    assert "0.parquet: 1 sample_ids occur more than once, first ['clip-0']" in line
    assert "2 sample_ids occur in more than one place, first ['clip-0', 'clip-1']" in refused(pool, pool[:2])


def test_null_ids(refused, pool):
    line = refused(replaced(pool, sample_id=pa.array([None, *IDS[1:]])))
    assert "0.parquet: column 'sample_id' has 1 nulls of 24 rows" in line


@pytest.mark.parametrize("kind", [pa.list_(pa.float64(), 12), pa.list_(pa.float32()), pa.list_(pa.int32(), 12)])
def test_vectors_of_another_type(refused, pool, tmp_path, kind):
    whole = [[int(10 * x) for x in vector] for vector in pool["video_embedding"].to_pylist()]
    line = refused(pool, replaced(pool, video_embedding=pa.array(whole, kind)))
    written = pq.read_schema(tmp_path / "e" / "1.parquet").field("video_embedding").type
    assert f"1.parquet: column 'video_embedding' is {written}, expected fixed_size_list<float>[D]; write " in line


def test_other_widths_in_another_file(refused, pool, pool_table):
    wide = pool_table(5, (16, 20)).select(pool.column_names)
    line = refused(pool, replaced(wide, sample_id=pa.array([f"x{i}" for i in range(5)])))
    assert "12 and 20 in" in line
    assert "16 and 20 in" in line
    assert "1.parquet; all must come from one model" in line


def test_missing_columns(refused, pool):
    assert "1.parquet: no columns ['audio_embedding']" in refused(pool, pool.drop_columns("audio_embedding"))
    assert "0.parquet: no columns ['sample_id']" in refused(pool.drop_columns("sample_id"))
    assert "0.parquet: modalities ['video']; expected two" in refused(pool.drop_columns("audio_embedding"))


@pytest.mark.parametrize("content", [b"", b"no Parquet at all"])
def test_a_file_that_is_no_parquet(refused, pool, content):
    line = refused(pool, content)
    assert "1.parquet: cannot be read as Parquet" in line
    assert "write it again" in line


def test_no_rows_at_all(refused, pool):
    assert "no rows to select from" in refused(pool[:0], pool[:0])


def test_uneven_and_empty_files_in_any_order(select, pool):
    done = select(pool[:0], pool[:1], pool[20:], pool[1:20])
    vectors = [read_vectors(pool, modality) for modality in ("video", "audio")]
    assert done.selection.equals(select_pairs(*vectors, 3, sample_ids=IDS).table)


@pytest.mark.parametrize("budget", ["0", "-2", "many", "1.0", "cost=0", "cost=many", "hours=3"])
def test_an_impossible_budget(refused, pool, budget):
    assert "select.budget" in refused(pool, budget=budget)


def test_a_budget_beyond_the_pool(refused, pool):
    assert "select.budget: 25 samples, but only 24 are embedded" in refused(pool, budget="25")
    line = refused(pool, budget="23", overrides=("select.labeled=[clip-1]", "select.exclude=[clip-2]"))
    assert "only 22 of 24 rows may be selected (1 are labeled, 1 excluded)" in line


def write_ids(folder: Path, suffix: str, ids: list[str]) -> str:
    path = folder / f"ids{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.table({"other": range(len(ids)), "sample_id": ids}), path)
    else:
        header = "other,sample_id\n" if suffix.lower() == ".csv" else "\ufeff"
        lines = [f"1,{i}" if suffix.lower() == ".csv" else f" {i} " for i in ids]
        path.write_text(header + "\n".join(lines) + "\n\n", encoding="utf-8")
    return path.name


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".CSV", ".parquet"])
def test_ids_from_a_file(select, pool, tmp_path, suffix):
    lists = {"include": IDS[:2], "exclude": IDS[2:20], "labeled": IDS[20:22]}
    (tmp_path / "ids").mkdir()
    overrides = []
    for name, ids in lists.items():
        (tmp_path / name).mkdir()
        overrides.append(f"select.{name}={name}/{write_ids(tmp_path / name, suffix, ids)}")
    done = select(pool, budget="4", overrides=tuple(overrides))
    assert done.code == 0, done.line
    assert sorted(done.selection["sample_id"].to_pylist()) == sorted([*IDS[:2], *IDS[22:]])
    assert (done.run_dir.committed("selection") or {})["summary"]["num_labeled"] == 2


@pytest.mark.parametrize("name", ["labeled", "include", "exclude"])
def test_unknown_ids(refused, pool, name):
    line = refused(pool, overrides=(f"select.{name}=[clip-1, who, what]",))
    assert f"{name}: 2 of 3 ids are not in the pool of 24 rows, first ['what', 'who']" in line


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("none.txt", None, "'none.txt' cannot be read"),
        ("bytes.txt", b"\xff\xfe\x00", "'bytes.txt' cannot be read"),
        ("empty.csv", b"", "'empty.csv' cannot be read"),
        ("other.csv", b"id\nclip-1\n", "'other.csv' has no column 'sample_id'; found ['id']"),
        ("broken.parquet", b"PAR1", "'broken.parquet' cannot be read"),
    ],
)
def test_a_file_of_ids_that_cannot_be_read(refused, pool, tmp_path, name, content, told):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert f"select.labeled: {told}" in refused(pool, overrides=(f"select.labeled={name}",))


def test_a_folder_is_no_file_of_ids(refused, pool):
    assert "select.labeled 'e' is no regular file" in refused(pool, overrides=("select.labeled=e",))


def test_a_file_of_ids_with_nulls(refused, pool, tmp_path):
    pq.write_table(pa.table({"sample_id": ["clip-1", None]}), tmp_path / "ids.parquet")
    assert "1 of 2 ids in 'ids.parquet' are null" in refused(pool, overrides=("select.labeled=ids.parquet",))


def test_columns_that_are_not_there(refused, pool):
    quota = ("select.quotas=[{column: camera, value: north, max: 1}]",)
    line = refused(pool.append_column("place", pa.array(IDS)), overrides=quota)
    assert "select.quotas: no column 'camera' in " in line
    assert "found ['place']" in line


def test_a_total_cost_without_costs(refused, pool):
    line = refused(pool, budget="cost=3")
    assert "select.budget: no column 'cost' in " in line
    assert "found none" in line


def test_columns_of_two_types(refused, pool):
    one, two = pool[:9].append_column("cost", pa.array(IDS[:9])), pool[9:].append_column("cost", pa.array([1.0] * 15))
    assert "Field cost has incompatible types: string vs double" in refused(one, two, budget="cost=3")


def test_costs_that_are_no_costs(refused, pool):
    costs = pa.array([None, -1.0, *[2.0] * 22])
    assert "cost: 2 of 24 values are not above 0" in refused(pool.append_column("cost", costs), budget="cost=3")
    one_file_without = [pool[:20].append_column("cost", pa.array([1.0] * 20)), pool[20:]]
    assert "cost: 4 of 24 values are not above 0" in refused(*one_file_without, budget="cost=3")


def test_costs_and_quotas_from_the_files_of_embeddings(select, pool_table):
    pool = pool_table(NUM_ROWS)
    # A whole number here, a fraction there: one type for both.
    whole = pool[:9].set_column(pool.schema.get_field_index("cost"), "cost", pa.array(range(1, 10)))
    pool = pa.concat_tables([whole, pool[9:]], promote_options="permissive")
    quota = "select.quotas=[{column: camera, value: north, min: 2}, {column: camera, value: west, max: 1}]"
    done = select(whole, pool[9:], budget="cost=6", overrides=(quota,))
    assert done.code == 0, done.line
    check_costs_and_quotas(done.selection, pool, 6)
    assert done.selection.equals(in_process(pool, done.run_dir).table)


def test_costs_and_quotas_from_the_manifest_of_a_run(tmp_path, pool_table):
    pool, run_dir = pool_table(NUM_ROWS), RunDir(str(tmp_path / "run"))
    facts = {
        "sample_id": [*IDS, "rejected"],
        "source": [*pool["camera"].to_pylist(), "north"],
        "cost": [*pool["cost"].to_pylist(), None],
        "uri": [f"/{i}.mp4" for i in [*IDS, "rejected"]],
    }
    manifest = conform(pa.table(facts), MANIFEST, name="manifest")
    run_dir.write_part("manifest", "part-00000.parquet", manifest[10:])
    run_dir.write_part("manifest", "part-00001.parquet", manifest[:10])
    run_dir.write_part(
        "embeddings", "part-00000.parquet", pool.select(["sample_id", "video_embedding", "audio_embedding"])
    )
    quota = "select.quotas=[{column: source, value: north, min: 2}, {column: source, value: west, max: 1}]"
    config = load_config(None, ["select.budget={cost: 6}", quota])
    receipt = select_clips(config, run_dir, lambda *_: None)
    table = run_dir.dataset("selection").to_table()
    assert receipt["num_selected"] == table.num_rows
    check_costs_and_quotas(table, pool, 6)
    assert table["uri"].to_pylist() == [f"/{i}.mp4" for i in table["sample_id"].to_pylist()]


def check_costs_and_quotas(table: pa.Table, pool: pa.Table, budget: float) -> None:
    facts = {row["sample_id"]: row for row in pool.select(["sample_id", "cost", "camera"]).to_pylist()}
    picked = [facts[i] for i in table["sample_id"].to_pylist()]
    cameras = [row["camera"] for row in picked]
    assert table["cost"].to_pylist() == [row["cost"] for row in picked]
    assert sum(row["cost"] for row in picked) <= budget
    assert budget - sum(row["cost"] for row in picked) < 1.5  # no sample costs more than that
    assert cameras.count("north") >= 2
    assert cameras.count("west") <= 1


def in_process(pool: pa.Table, run_dir: RunDir):
    spec = SelectSpec.model_validate(load_config(run_dir.path("config.yaml")).select.model_dump())
    vectors = [read_vectors(pool, modality) for modality in ("video", "audio")]
    assert isinstance(spec.budget, TotalCost)
    return select_pairs(
        *vectors,
        spec.budget,
        sample_ids=pool["sample_id"].to_pylist(),
        costs=pool["cost"].to_numpy(),
        weights=pool["weight"].to_numpy(),
        columns={"camera": pool["camera"].to_pylist()},
        config=spec,
    )


def test_bad_rows_are_listed_and_left_out(select, pool):
    pool = with_vector(pool, "video_embedding", np.nan, 3, 5)
    pool = with_vector(with_vector(pool, "audio_embedding", None, 8), "audio_embedding", 0.0, 9)
    done = select(pool[:7], pool[7:], overrides=(REJECT,))
    assert done.code == 0, done.line
    rejects = done.run_dir.dataset("selection_rejects").to_table().to_pylist()
    reasons = {"clip-3": "not_finite", "clip-5": "not_finite", "clip-8": "missing_modality", "clip-9": "zero_vector"}
    assert {row["sample_id"]: row["reason"] for row in rejects} == reasons
    assert all(row["stage"] == "select" and ".parquet" in row["detail"] for row in rejects)
    receipt = done.run_dir.committed("selection") or {}
    assert (receipt["num_rejects"], receipt["summary"]["num_rejected"], receipt["summary"]["num_pool"]) == (4, 4, 20)
    assert not set(done.selection["sample_id"].to_pylist()) & set(reasons)


def test_too_many_bad_rows(refused, pool, tmp_path):
    line = refused(with_vector(pool, "video_embedding", 0.0, *range(20)), overrides=(REJECT,), code=3)
    assert "20 of 24 rows have vectors that are missing, zero or not finite" in line
    assert "max_reject_fraction" in line
    assert RunDir(str(tmp_path / "o")).dataset("selection_rejects").count_rows() == 20


@pytest.mark.parametrize(("num_rows", "budget"), [(1, "1"), (1, "0.5"), (2, "1"), (2, "2"), (NUM_ROWS, "24")])
def test_tiny_pools_and_a_budget_of_all(select, pool, num_rows, budget):
    done = select(pool[:num_rows], budget=budget)
    assert done.code == 0, done.line
    picked = done.selection["sample_id"].to_pylist()
    assert len(set(picked)) == len(picked) == max(int(float(budget)), 1)


def test_a_pool_of_equal_rows(select, pool):
    equal = [vector_column(np.ones((NUM_ROWS, d))) for d in (12, 20)]
    done = select(replaced(pool, video_embedding=equal[0], audio_embedding=equal[1]))
    assert done.code == 0, done.line
    assert len(set(done.selection["sample_id"].to_pylist())) == 3
