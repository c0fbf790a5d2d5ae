"""What a run tells Prometheus, scraped over HTTP from the node's agent while the real stages run."""

import inspect
import json
import logging
import re
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import ray
import yaml
from prometheus_client.parser import text_string_to_metric_families
from ray._private.ray_constants import PROMETHEUS_SERVICE_DISCOVERY_FILE
from ray.dashboard.modules.metrics.dashboards import default_dashboard_panels

from mmcsal.config import load_config
from mmcsal.distributed.cluster import telemetry
from mmcsal.distributed.cluster.session import quiet_ray
from mmcsal.distributed.cluster.telemetry import METRICS, count_retry, record
from mmcsal.distributed.run.execute import run_stages
from mmcsal.distributed.run.status import Status
from mmcsal.storage.rundir import RunDir
from tests.helpers import TIME_LIMIT_S, write_timed_clip

GRAFANA = Path(__file__).parents[3] / "cluster" / "grafana"
NUM_CLIPS, NUM_EPOCHS, BATCH_SIZE = 12, 6, 4
REJECTS = {"no_audio": 2, "no_video": 1, "too_short": 1, "empty_file": 1}
NEEDS_GPU = {"ray_node_gpus_utilization"}
STAGES = ["manifest", "ingest", "pretrain", "embed", "select"]
SETTINGS = [
    "media={window_s: 1.0, num_frames: 4, frame_size_px: 32}",
    "model.video.frame_size_px=16",
    f"pretrain={{epochs: {NUM_EPOCHS}, batch_size: {BATCH_SIZE}, eval_samples: 8}}",
    "ingest.samples_per_partition=6",
    "embed.num_workers=1",
    "select.budget=4",
]
SCRAPES_TO_SETTLE = 5  # of half a second, with a report from each worker a second
# Whoever trains waits after each of these until it was scraped, see `hold_training`.
HELD = (telemetry.TRAINING_STEPS, telemetry.TRAINING_LOSS, telemetry.DATA_WAIT_RATIO)
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def shown_names() -> set[str]:
    """The series that the dashboard asks for."""
    panels = json.loads((GRAFANA / "mmcsal.json").read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    return set(re.findall(r"\bray_[a-z_]+", " ".join(expressions)))


class Scraper(threading.Thread):
    """Scrapes every half second, as Prometheus does, and keeps the last value of each series that it ever saw."""

    def __init__(self, port: int, seen: Path) -> None:
        super().__init__(daemon=True)
        self.series: Series = {}
        self.told: list[str] = []  # what mmcsal.distributed.cluster.telemetry wrote into the log meanwhile
        self._url, self._stop_asked = f"http://127.0.0.1:{port}/metrics", threading.Event()
        self._seen = seen  # a folder that gets a file for each of HELD that was scraped
        self._scraped, self._num_scrapes = threading.Condition(), 0

    def run(self) -> None:
        while not self._stop_asked.wait(0.5):
            try:
                text = urllib.request.urlopen(self._url, timeout=10).read().decode()
            except OSError:  # the agent of a young node
                continue
            samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
            with self._scraped:
                self.series |= {(s.name, frozenset(s.labels.items())): s.value for s in samples}
                self._num_scrapes += 1
                self._scraped.notify_all()
            for metric in HELD:
                if metric.exported_name in self.names:
                    (self._seen / metric.name).touch()

    def wait_until(self, is_there: Callable[[], bool]) -> bool:
        """Whether it comes true; asked after every scrape."""
        with self._scraped:
            return self._scraped.wait_for(is_there, TIME_LIMIT_S)

    def wait_for_scrapes(self, number: int) -> None:
        """Until there were so many more."""
        last = self._num_scrapes + number
        assert self.wait_until(lambda: self._num_scrapes >= last)

    def stop(self) -> None:
        self._stop_asked.set()
        self.join()

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.series}

    def total(self, metric: telemetry.Metric, suffix: str = "") -> float:
        return sum(value for (name, _), value in self.series.items() if name == metric.exported_name + suffix)

    def by_tag(self, metric: telemetry.Metric, tag: str) -> dict[str, float]:
        found: Counter[str] = Counter()
        for (name, labels), value in self.series.items():
            if name == metric.exported_name:
                found[dict(labels)[tag]] += value
        return dict(found)


def hold_training(seen: Path) -> Callable[[], None]:
    """For each worker of Ray at its start: training goes on when what it has told of was scraped.

    Ray Train kills its workers at the end, and the figures of their last second with them: a run of a few seconds
    could be over before anyone looked.
    """
    names = {metric.name for metric in HELD}

    def set_up() -> None:
        plain = telemetry.record

        def record_and_wait(metric: telemetry.Metric, value: float = 1.0, **tags: str) -> None:
            plain(metric, value, **tags)
            deadline_s = time.monotonic() + TIME_LIMIT_S
            while metric.name in names and not (seen / metric.name).exists() and time.monotonic() < deadline_s:
                time.sleep(0.05)

        telemetry.record = record_and_wait

    return set_up


@contextmanager
def scraped_session(seen: Path) -> Iterator[Scraper]:
    """A Ray whose workers send their figures every second, the shortest time that it knows."""
    fast = {"metrics_report_interval_ms": 1000}
    held = {"worker_process_setup_hook": hold_training(seen)}
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, _system_config=fast, runtime_env=held)
    try:
        quiet_ray()
        scraper = Scraper(ray.nodes()[0]["MetricsExportPort"], seen)
        handler = logging.Handler()
        handler.emit = lambda entry: scraper.told.append(entry.getMessage())
        telemetry.logger.addHandler(handler)
        scraper.start()
        yield scraper
        scraper.stop()
        telemetry.logger.removeHandler(handler)
    finally:
        ray.shutdown()


def is_complete(scraper: Scraper) -> bool:
    """Whether all that the tests below look for is there; what is more than that, they would see."""
    done, units = (scraper.by_tag(metric, "stage") for metric in (telemetry.STAGE_UNITS_DONE, telemetry.STAGE_UNITS))
    return (
        shown_names() - NEEDS_GPU <= scraper.names
        and {metric.exported_name for metric in METRICS if metric is not telemetry.DECODE_SECONDS} <= scraper.names
        and scraper.total(telemetry.SAMPLES_DECODED) >= NUM_CLIPS
        and scraper.total(telemetry.SAMPLES_EMBEDDED) >= NUM_CLIPS
        and sum(scraper.by_tag(telemetry.SAMPLES_REJECTED, "reason").values()) >= sum(REJECTS.values())
        and scraper.total(telemetry.DECODE_SECONDS, "_count") >= NUM_CLIPS + sum(REJECTS.values())
        and set(units) == set(STAGES)
        and done == units
    )


@pytest.fixture(scope="module")
def scraped(tmp_path_factory, own_ray) -> Scraper:
    """What was seen of a whole run over real files, some of which cannot be used."""
    corpus = tmp_path_factory.mktemp("corpus")
    for n in range(NUM_CLIPS):
        write_timed_clip(corpus / f"good-{n}.mp4", 1.0 + n / 8, size_px=32)
    write_timed_clip(corpus / "mute-1.mp4", 1.0, sound=False)
    write_timed_clip(corpus / "mute-2.mp4", 1.0, sound=False)
    write_timed_clip(corpus / "dark.mp4", 1.0, picture=False)
    write_timed_clip(corpus / "short.mp4", 0.25)
    (corpus / "empty.mp4").touch()
    run_dir = RunDir(str(tmp_path_factory.mktemp("runs") / "run"))
    config = load_config(None, [f"run_dir={run_dir.uri}", f"corpus={corpus}", *SETTINGS])
    record(telemetry.SAMPLES_DECODED, 1000)  # before there is a session: nobody counts it
    with scraped_session(tmp_path_factory.mktemp("seen")) as scraper:
        count_retry("embed")
        for _ in range(2):
            record(telemetry.SAMPLES_REJECTED)  # without its reason, which Ray refuses
        run_stages(config, STAGES, Status(run_dir))
        scraper.wait_until(lambda: is_complete(scraper))  # what does not come, the tests tell
        scraper.wait_for_scrapes(SCRAPES_TO_SETTLE)  # what would be counted twice has the time to be
    return scraper


def test_every_clip_is_counted_once(scraped):
    assert scraped.total(telemetry.SAMPLES_DECODED) == NUM_CLIPS
    assert scraped.total(telemetry.SAMPLES_EMBEDDED) == NUM_CLIPS
    assert scraped.total(telemetry.EMBED_SECONDS) > 0


def test_every_reject_is_counted_for_its_reason(scraped):
    assert scraped.by_tag(telemetry.SAMPLES_REJECTED, "reason") == REJECTS


def test_every_sample_has_its_seconds_in_the_decoder(scraped):
    assert scraped.total(telemetry.DECODE_SECONDS, "_count") == NUM_CLIPS + sum(REJECTS.values())
    bounds = [dict(labels)["le"] for name, labels in scraped.series if name == "ray_mmcsal_decode_seconds_bucket"]
    assert {float(bound) for bound in bounds} == {*telemetry.DECODE_SECONDS.buckets, float("inf")}


def test_every_stage_tells_how_far_it_is(scraped):
    assert set(scraped.by_tag(telemetry.STAGE_UNITS, "stage")) == set(STAGES)
    done = scraped.by_tag(telemetry.STAGE_UNITS_DONE, "stage")
    assert done == scraped.by_tag(telemetry.STAGE_UNITS, "stage")
    assert done["pretrain"] == NUM_EPOCHS
    assert scraped.by_tag(telemetry.STAGE_RETRIES, "stage") == {"embed": 1}


def test_training_is_seen_while_it_runs(scraped):
    """Ray Train kills its workers at the end, and the figures of their last second with them: see `hold_training`."""
    assert 0 < scraped.total(telemetry.TRAINING_STEPS) <= NUM_EPOCHS * (NUM_CLIPS // BATCH_SIZE)
    assert scraped.total(telemetry.TRAINING_LOSS) > 0
    assert 0 <= scraped.total(telemetry.DATA_WAIT_RATIO) <= 1


def test_a_figure_that_cannot_be_recorded_is_told_once_and_stops_nobody(scraped):
    (told,) = scraped.told
    assert told.startswith("metric mmcsal_samples_rejected is not recorded: ")
    assert "reason" in told


def test_names_follow_prometheus():
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert re.fullmatch(r"mmcsal_[a-z_]+", metric.name)
        assert not metric.name.endswith("_total")  # Ray adds it
        assert metric.help.endswith(".")
        assert (metric.kind is telemetry.Histogram) == bool(metric.buckets)
    defined = [value for value in vars(telemetry).values() if isinstance(value, telemetry.Metric)]
    assert set(defined) == set(METRICS)


class TestDashboard:
    @pytest.fixture(scope="class")
    @classmethod
    def dashboard(cls) -> dict:
        return json.loads((GRAFANA / "mmcsal.json").read_text())

    @pytest.fixture(scope="class")
    @classmethod
    def panels(cls, dashboard) -> list[dict]:
        return [panel for panel in dashboard["panels"] if panel["type"] != "row"]

    @pytest.fixture(scope="class")
    @classmethod
    def expressions(cls, panels) -> list[str]:
        return [target["expr"] for panel in panels for target in panel["targets"]]

    def test_every_panel_asks_for_something(self, panels):
        assert all(panel["targets"] and panel["title"] and panel["description"] for panel in panels)
        assert all(target["expr"].strip() for panel in panels for target in panel["targets"])
        assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels)

    def test_panels_have_ids_and_places_of_their_own(self, dashboard):
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(ids)) == len(ids)
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            x, y, w, h = (panel["gridPos"][key] for key in "xywh")
            cells = {(column, line) for column in range(x, x + w) for line in range(y, y + h)}
            assert cells
            assert x + w <= 24
            assert not cells & taken, panel["title"]
            taken |= cells

    def test_it_shows_every_metric_and_none_that_is_not_there(self, scraped):
        shown = shown_names()
        ours = {name.removesuffix("_bucket") for name in shown if name.startswith("ray_mmcsal_")}
        assert ours == {metric.exported_name for metric in METRICS}
        assert shown - NEEDS_GPU <= scraped.names
        assert all(name in inspect.getsource(default_dashboard_panels) for name in NEEDS_GPU)

    def test_labels_that_it_asks_for_are_those_of_its_metrics(self, expressions, scraped):
        num_checked = 0
        for expression in expressions:
            labels = set(re.findall(r"(\w+)=~?\"", expression))
            labels |= {name.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for name in group.split(",")}
            for metric in set(re.findall(r"\bray_[a-z_]+", expression)) - NEEDS_GPU:
                present = [set(dict(found)) for name, found in scraped.series if name == metric]
                assert any(labels <= names for names in present), (expression, present)
                num_checked += 1
        assert num_checked >= len(METRICS)


def test_prometheus_reads_the_file_that_ray_writes():
    config = yaml.safe_load((GRAFANA / "prometheus.yaml").read_text())
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    (files,) = (place["files"] for place in jobs["ray"]["file_sd_configs"])
    assert [Path(file).name for file in files] == [PROMETHEUS_SERVICE_DISCOVERY_FILE]
    assert jobs["ray-kubernetes"]["kubernetes_sd_configs"] == [{"role": "pod"}]
