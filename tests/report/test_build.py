"""The whole report of small runs, read back as a reader's browser would."""

import csv
from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mmcsal.contracts.embedding import embedding_schema, vector_column
from mmcsal.contracts.errors import InputError
from mmcsal.contracts.manifest import MANIFEST
from mmcsal.contracts.table import conform
from mmcsal.report.build import build_report
from mmcsal.report.spec import ReportSpec

QUICK = ReportSpec(num_contact_clips=2, num_map_points=50)
PICTURES = ["contact_sheet.png", "gap.png", "losses.png", "map.png", "rejects.png"]


def names_in(run_dir):
    return sorted(path.name for path in Path(run_dir.path("report")).iterdir())


@pytest.fixture(scope="module")
def page(default_run, parse):
    return parse(default_run.path("report", "report.html"))


class TestDefaultRun:
    def test_writes_the_html_its_pictures_and_the_csv(self, default_run):
        assert names_in(default_run) == sorted([*PICTURES, "report.html", "selection.csv"])

    def test_verdict_comes_first_and_names_both_numbers(self, page):
        sentence = "Label these 32 clips first: they cover the pool as well as 71 random picks would."
        assert sentence in page.text
        assert page.text.index(sentence) < page.text.index("Scanned")
        assert next(name for name, _ in page.tags if name in ("h1", "h2")) == "h1"
        assert "0.812, against 0.664 for 32 random picks" in page.text

    def test_key_numbers(self, page):
        for tile in ("Scanned 131", "Rejected 11", "In the pool 120", "Selected 32", "Modality gap 0.148 from 1.02"):
            assert tile in page.text

    @pytest.mark.parametrize(
        ("reason", "count"), [("no_audio", "5"), ("decode_error", "3"), ("too_short", "2"), ("empty_file", "1")]
    )
    def test_every_reject_reason_with_its_count(self, page, reason, count):
        assert page.row_of(reason)[1] == count

    def test_one_strip_and_one_log_mel_per_contact_clip(self, page):
        images = page.attributes("img")
        assert sum(image["src"].startswith("data:image/jpeg;base64,") for image in images) == 24
        assert sum(image.get("class") == "mel" for image in images) == 24
        assert len(images) == 24 * 2 + len(PICTURES) - 1  # the contact sheet is the grid itself

    def test_every_image_says_what_it_shows(self, page):
        assert all(image["alt"].strip() for image in page.attributes("img"))

    def test_needs_no_network_and_no_script(self, default_run, page):
        html = default_run.read_bytes("report", "report.html").decode()
        assert not {"script", "link", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
        for _, attributes in page.tags:
            assert attributes.get("src", "data:image/").startswith("data:image/")
            assert attributes.get("href", "#").startswith("#") or attributes["href"] == "selection.csv"
        assert "http://" not in html
        assert "https://" not in html
        assert "url(" not in html
        assert "@import" not in html

    def test_sections_are_listed_and_anchored(self, page):
        anchors = [a["href"][1:] for a in page.attributes("a") if a["href"].startswith("#")]
        assert set(anchors) <= set(page.sections)
        assert set(page.sections) - {"notes"} <= set(anchors)
        assert "notes" not in page.sections

    def test_picks_are_in_order_with_their_reasons(self, page):
        rows = [row for row in page.cells if len(row) == 5 and row[0].isdigit()]
        assert [row[0] for row in rows] == [str(n) for n in range(1, 33)]
        assert rows[1][1].startswith("clip_0007")
        assert rows[0][2].startswith("It stands for 24 clips")

    def test_runner_up_is_named_beside_the_reason_where_there_is_one(self, page):
        assert "Runner-up" not in page.row_of("1")[2]
        assert page.row_of("2")[2].endswith("clip_0008")
        assert page.text.count("Runner-up: clip_") == 16
        assert "should the pick turn out to be unusable" in page.text

    def test_metrics_over_epochs(self, page):
        assert "The modality gap fell from 1.02 before training to 0.148 after it." in page.text
        assert "The recall at 1 (video to audio) rose from" in page.text
        assert "The loss fell from 4 in the first epoch to 1.38 in the last." in page.text
        assert page.row_of("mix")[2:] == ["0", "1"]
        assert page.row_of("probe_accuracy")[2:] == ["", "0.625"]

    def test_how_each_stage_went(self, page):
        assert [page.row_of(stage)[1:] for stage in ("Scan", "Decode", "Pretrain", "Embed", "Select")] == [
            ["done", "1.2 s", "131 samples", "109 a second", "", ""],
            ["done", "1 min 35 s", "131 samples", "1.38 a second", "1", ""],
            ["done", "14 min 00 s", "12 epochs", "1 min 10 s each", "2", ""],
            ["done", "31.0 s", "120 samples", "3.87 a second", "0", "4"],
            ["done", "4.5 s", "120 samples", "26.7 a second", "", ""],
        ]
        assert "The stages took 16 min 12 s together, 86 % of it in Pretrain." in page.text
        assert "Tried again after a failure: Decode once, Pretrain 2 times." in page.text

    def test_config_is_shown_as_text(self, page):
        assert "note: <b>bold</b>" in page.text
        assert page.attributes("details")
        assert "b" not in {tag for tag, attributes in page.tags if tag == "b" and "bold" in str(attributes)}

    def test_is_small_enough_to_send(self, default_run):
        assert len(default_run.read_bytes("report", "report.html")) < 3_000_000

    def test_csv_is_the_selection_table(self, default_run):
        rows = list(csv.DictReader(StringIO(default_run.read_bytes("report", "selection.csv").decode("utf-8-sig"))))
        table = default_run.dataset("selection").to_table().sort_by("rank")
        assert [row["sample_id"] for row in rows] == table["sample_id"].to_pylist()
        assert [int(row["rank"]) for row in rows] == list(range(32))
        assert [float(row["gain"]) for row in rows] == table["gain"].to_pylist()
        assert list(rows[0]) == table.column_names


def test_noise_for_frames_stays_under_three_megabytes(make_run):
    run_dir = make_run(clip_shape=(4, 112))
    clips = run_dir.dataset("clips").to_table()
    noise = np.random.default_rng(0).integers(
        0, 256, len(clips) * clips.schema.field("video").type.byte_width, np.uint8
    )
    video = pa.Array.from_buffers(clips.schema.field("video").type, len(clips), [None, pa.py_buffer(noise)])
    run_dir.clear("clips")
    run_dir.write_part("clips", "part-00000.parquet", clips.set_column(1, clips.schema.field("video"), video))
    assert Path(build_report(run_dir, ReportSpec())).stat().st_size < 3_000_000


class TestHostileText:
    IDS = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "眠い猫🐈‍⬛ é $x^2$ {{ 7*7 }}", "long/" * 800)

    @pytest.fixture(scope="class")
    @classmethod
    def path(cls, tmp_path_factory, write_run):
        ids = [*cls.IDS, *(f"clip_{i}" for i in range(6))]
        run_dir = write_run(tmp_path_factory.mktemp("hostile") / "<b>run</b>", ids=ids, num_picks=10, uri_prefix="<i>/")
        return build_report(run_dir, ReportSpec(title="<u>title</u>", num_map_points=20))

    def test_is_shown_as_text(self, path, parse):
        page = parse(path)
        for sample_id in self.IDS:
            assert sample_id in page.text
        assert not {"script", "i onerror", "u"} & {tag for tag, _ in page.tags}
        assert not any("onerror" in attributes for _, attributes in page.tags)
        assert all(image["src"].startswith("data:") for image in page.attributes("img"))

    def test_survives_in_the_csv(self, path):
        rows = list(csv.DictReader(Path(path).with_name("selection.csv").open(encoding="utf-8-sig", newline="")))
        assert set(self.IDS) <= {row["sample_id"] for row in rows}


class TestAbsentTables:
    @pytest.mark.parametrize(
        ("folder", "section", "picture"),
        [
            ("manifest", None, None),
            ("clips", "contact-sheet", "contact_sheet.png"),
            ("rejects", None, "rejects.png"),
            ("embeddings", "map", "map.png"),
            ("metrics", "losses", "losses.png"),
        ],
    )
    def test_one_absent_table_leaves_out_its_part_and_says_so(self, make_run, parse, folder, section, picture):
        run_dir = make_run(absent=(folder,))
        page = parse(build_report(run_dir, QUICK))
        assert section not in page.sections
        assert picture not in names_in(run_dir)
        assert "Label these 32 clips first" in page.text
        if folder == "rejects":  # clips without rejects: nothing was rejected, though 11 samples are missing
            assert "11 scanned samples are neither in clips/ nor in rejects/" in page.text
        else:
            assert f"There {'is' if folder == 'manifest' else 'are'} no {folder}/" in page.text

    def test_a_selection_alone_is_enough(self, make_run, parse):
        run_dir = make_run(absent=("manifest", "clips", "rejects", "embeddings", "metrics", "checkpoints"))
        page = parse(build_report(run_dir, QUICK))
        assert page.sections == ["notes", "picks", "numbers", "run", "next", "config"]
        assert names_in(run_dir) == ["report.html", "selection.csv"]
        assert page.text.count("There are no") == 4
        assert page.text.count("There is no manifest/") == 1

    def test_no_selection_is_an_error_that_says_what_to_do(self, make_run):
        with pytest.raises(InputError, match=r"no selection.*mmcsal select"):
            build_report(make_run(absent=("selection",)), QUICK)

    def test_unfinished_stages_are_named(self, make_run, parse):
        run_dir = make_run()
        Path(run_dir.path("clips", "_COMMITTED.json")).unlink()
        assert "clips/ has no completion marker" in parse(build_report(run_dir, QUICK)).text

    def test_an_unfinished_stage_has_no_time_and_a_resumed_one_no_pace(self, make_run, parse):
        run_dir = make_run()
        run_dir.commit("embeddings", {"wall_s": 31.0, "resumed": True})
        run_dir.begin("checkpoints", {})  # another attempt, that has not ended
        page = parse(build_report(run_dir, QUICK))
        assert page.row_of("Pretrain")[1:5] == ["not finished", "", "", ""]
        assert page.row_of("Embed")[1:5] == ["resumed", "31.0 s", "120 samples", ""]
        assert "The time of a resumed stage is that of its last attempt alone." in page.text

    def test_a_run_whose_receipts_know_no_retries_and_workers_has_no_such_columns(self, make_run, parse):
        run_dir = make_run(absent=("manifest", "clips", "rejects", "embeddings", "metrics", "checkpoints"))
        page = parse(build_report(run_dir, QUICK))
        assert page.row_of("Stage") == ["Stage", "State", "Time", "Items", "Pace"]
        assert page.row_of("Select") == ["Select", "done", "4.5 s", "120 samples", "26.7 a second"]
        assert "Select took 4.5 s." in page.text

    def test_what_a_stage_found_wrong_with_itself_is_told(self, make_run, parse):
        run_dir = make_run()
        assert "nearly one point" not in parse(build_report(run_dir, QUICK)).text
        run_dir.commit("checkpoints", {"warnings": ["all audio embeddings are nearly one point"], "wall_s": 3.0})
        page = parse(build_report(run_dir, QUICK))
        assert "Pretrain: all audio embeddings are nearly one point." in page.text

    def test_embeddings_of_other_samples_give_no_map(self, make_run, parse):
        run_dir = make_run()
        run_dir.clear("embeddings")
        vectors_ND = np.eye(4, dtype=np.float32)
        columns = [pa.array(list("abcd")), vector_column(vectors_ND), vector_column(vectors_ND)]
        table = pa.Table.from_arrays(columns, schema=embedding_schema({"video": 4, "audio": 4}))
        run_dir.write_part("embeddings", "part-00000.parquet", table)
        page = parse(build_report(run_dir, QUICK))
        assert "map" not in page.sections
        assert "holds none of the picks" in page.text


def test_images_with_text_are_shown_by_their_text(make_run, parse):
    run_dir = make_run(absent=("clips", "rejects", "embeddings", "manifest"), num_picks=3)
    columns = {"sample_id": ["clip_0000", "clip_0007"], "text": ["<em>a</em> dog", None], "source": ["folder"] * 2}
    run_dir.write_part("manifest", "part-00000.parquet", conform(pa.table(columns), MANIFEST, name="manifest"))
    vectors_ND = np.eye(4, dtype=np.float32)[:3]
    columns = [pa.array(["clip_0000", "clip_0007", "x"]), vector_column(vectors_ND), vector_column(vectors_ND)]
    table = pa.Table.from_arrays(columns, schema=embedding_schema({"image": 4, "text": 4}))
    run_dir.write_part("embeddings", "part-00000.parquet", table)
    page = parse(build_report(run_dir, QUICK))
    assert "Label these 3 images with text first" in page.text
    assert "<em>a</em> dog" in page.text


class TestSameTablesSameBytes:
    def test_a_rerun_changes_nothing(self, make_run):
        run_dir = make_run()
        build_report(run_dir, QUICK)
        before = {name: run_dir.read_bytes("report", name) for name in names_in(run_dir)}
        build_report(run_dir, QUICK)
        assert before == {name: run_dir.read_bytes("report", name) for name in names_in(run_dir)}

    def test_the_number_of_parts_changes_nothing(self, make_run):
        one, many = make_run("a/run", num_parts=1), make_run("b/run", num_parts=7)
        for run_dir in (one, many):
            run_dir.write_json({"wall_s": 4.5, "committed_at": "2026-01-01"}, "selection", "_COMMITTED.json")
            build_report(run_dir, QUICK)
        for name in names_in(one):
            assert one.read_bytes("report", name) == many.read_bytes("report", name), name

    def test_pictures_name_no_program_and_no_date(self, default_run):
        for name in PICTURES:
            png = default_run.read_bytes("report", name)
            assert b"Software" not in png
            assert b"tIME" not in png


def test_a_coverage_curve_becomes_a_figure(make_run, parse):
    summary = {"coverage": 0.6, "coverage_random": 0.4, "coverage_curve": [[1, 0.1], [16, 0.5], [32, 0.6]]}
    run_dir = make_run(summary=summary)
    page = parse(build_report(run_dir, QUICK))
    assert "budget" in page.sections
    assert "budget.png" in names_in(run_dir)
    assert any("from 0.100 to 0.600" in image["alt"] for image in page.attributes("img"))
    assert "coverage_curve" not in page.text
    assert "Stopping after" not in page.text  # an older run: neither a knee nor what random picks would need
    assert "of random picks (dashed)" not in page.text


def test_both_curves_come_with_what_the_knee_keeps_and_what_random_picks_need(make_run, parse):
    curves = {
        "coverage_curve": [[0, 0.0], [8, 0.45], [32, 0.6]],
        "random_curve": [[0, 0.0], [32, 0.4], [71, 0.6]],
        "knee": 8,
    }
    run_dir = make_run(summary={"random_equivalent_budget": 71, "random_equivalent_is_bound": False, **curves})
    page = parse(build_report(run_dir, QUICK))
    assert "Stopping after 8 labels would keep 75 % of the gain in coverage" in page.text
    assert "Random picks would need 71 labels for the same coverage, 2.2 times as many." in page.text
    assert "of this selection and of random picks (dashed)" in page.text
    assert any("from 0 to 0.600, and that of random picks" in image["alt"] for image in page.attributes("img"))
    assert page.row_of("knee")[1] == "8"
    assert "random_curve" not in page.text


def test_a_selection_older_than_its_newest_columns_has_no_runner_up(make_run, parse):
    run_dir = make_run()
    table = run_dir.dataset("selection").to_table()
    run_dir.clear("selection")
    run_dir.write_part("selection", "part-00000.parquet", table.drop_columns(["runner_up", "cost"]))
    page = parse(build_report(run_dir, QUICK))
    assert "Label these 32 clips first" in page.text
    assert "Runner-up" not in page.text
    assert run_dir.read_bytes("report", "selection.csv").decode("utf-8-sig").startswith(",".join(table.column_names))


def test_a_report_that_shrinks_leaves_no_stale_pictures(make_run):
    run_dir = make_run()
    build_report(run_dir, QUICK)
    run_dir.clear("metrics")
    build_report(run_dir, QUICK)
    assert not {"losses.png", "gap.png"} & set(names_in(run_dir))


def test_long_selections_are_cut_in_the_page_alone(make_run, parse):
    run_dir = make_run(num_picks=80)
    page = parse(build_report(run_dir, QUICK))
    assert "The first 50 of 80; the other 30 are in report/selection.csv" in page.text
    assert len(run_dir.read_bytes("report", "selection.csv").decode().splitlines()) == 81
