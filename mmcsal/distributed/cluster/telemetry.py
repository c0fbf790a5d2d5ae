"""What a run tells Prometheus while it runs: one table of figures, and `record`.

Ray sends them from every worker to the agent of its node, which serves them at `/metrics` with `ray_` in front and, for
counters, `_total` behind. A worker sends every 10 s, so one that is killed takes the figures of its last seconds along:
they are for watching a run, and the receipts in the run directory for adding up. Neither torch nor config is loaded.
"""

import logging
from dataclasses import dataclass
from functools import cache

import ray
from ray.util.metrics import Counter, Gauge, Histogram

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Metric:
    """One figure, as plain values; Ray's own object of it is made in the process that first records it."""

    kind: type[Counter] | type[Gauge] | type[Histogram]
    name: str  # Prometheus' conventions; Ray itself adds `_total`
    help: str
    tags: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()  # upper bounds, of histograms

    @property
    def exported_name(self) -> str:
        """Under which Prometheus finds it; the buckets of a histogram have `_bucket` behind."""
        return f"ray_{self.name}{'_total' if self.kind is Counter else ''}"


SAMPLES_DECODED = Metric(Counter, "mmcsal_samples_decoded", "Samples that became clips.")
SAMPLES_REJECTED = Metric(Counter, "mmcsal_samples_rejected", "Samples that could not be read.", tags=("reason",))
DECODE_SECONDS = Metric(
    Histogram,
    "mmcsal_decode_seconds",
    "Seconds that a decoder worked on one sample, read or rejected.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
)
TRAINING_STEPS = Metric(Counter, "mmcsal_training_steps", "Optimizer steps; one for all workers together.")
TRAINING_LOSS = Metric(Gauge, "mmcsal_training_loss", "Loss of the last step, over the rows of the first worker.")
DATA_WAIT_RATIO = Metric(
    Gauge, "mmcsal_training_data_wait_ratio", "Share of the last epoch that training spent waiting for clips, 0 to 1."
)
SAMPLES_EMBEDDED = Metric(Counter, "mmcsal_samples_embedded", "Clips that became embeddings.")
EMBED_SECONDS = Metric(Counter, "mmcsal_embed_seconds", "Seconds that embedding workers were at work, with files.")
STAGE_UNITS_DONE = Metric(
    Gauge, "mmcsal_stage_units_done", "Parts, epochs (pretrain) or tasks (select) that are done.", tags=("stage",)
)
STAGE_UNITS = Metric(
    Gauge, "mmcsal_stage_units", "Parts, epochs (pretrain) or tasks (select) that are known so far.", tags=("stage",)
)
STAGE_RETRIES = Metric(Counter, "mmcsal_stage_retries", "Times that a stage was tried again.", tags=("stage",))

METRICS = (
    SAMPLES_DECODED,
    SAMPLES_REJECTED,
    DECODE_SECONDS,
    TRAINING_STEPS,
    TRAINING_LOSS,
    DATA_WAIT_RATIO,
    SAMPLES_EMBEDDED,
    EMBED_SECONDS,
    STAGE_UNITS_DONE,
    STAGE_UNITS,
    STAGE_RETRIES,
)


def record(metric: Metric, value: float = 1.0, **tags: str) -> None:
    """Adds to a counter, sets a gauge, or observes in a histogram. Never raises; does nothing without a Ray session."""
    if not ray.is_initialized():
        return
    try:
        instrument = _instrument(metric)
        if isinstance(instrument, Gauge):
            instrument.set(float(value), tags)
        elif isinstance(instrument, Histogram):
            instrument.observe(float(value), tags)
        elif value > 0:
            instrument.inc(float(value), tags)
    except Exception as error:  # a figure that is missing is no reason to lose a run
        _tell_once(metric.name, repr(error))


def count_retry(stage: str) -> None:
    """Counts that a stage is tried again."""
    record(STAGE_RETRIES, stage=stage)


@cache
def _instrument(metric: Metric) -> Counter | Gauge | Histogram:
    if metric.kind is Histogram:
        return Histogram(metric.name, metric.help, list(metric.buckets), metric.tags)
    return metric.kind(metric.name, metric.help, tag_keys=metric.tags)


@cache
def _tell_once(name: str, error: str) -> None:
    logger.warning("metric %s is not recorded: %s", name, error)
