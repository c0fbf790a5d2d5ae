"""The page of a search: one offline HTML file with its answer, its table and its charts."""

import pyarrow as pa
import pyarrow.compute as pc

from mmcsal.report.templates import data_uri, templates
from mmcsal.tuning.figures import correlation_png, settings_png
from mmcsal.tuning.outcome import CHECK, PRESENT, SEARCH, Outcome
from mmcsal.tuning.text import caveats, gain_text, value_text, verdict


def render(table: pa.Table, outcome: Outcome) -> bytes:
    """The page; the same trials give the same bytes.

    Args:
        table: of the TUNING schema.
    """
    images = {"settings": settings_png(outcome)}
    if outcome.objective == "accuracy":
        images["correlation"] = correlation_png(outcome)
    first = table.slice(0, 1).to_pylist()[0]
    context = {
        "keys": list(outcome.lines[0].settings),
        "lines": outcome.lines,
        "present": PRESENT,
        "objective": outcome.objective,
        "verdict": _sentence(verdict(outcome)),
        "caveats": [_sentence(text) for text in caveats(outcome)],
        "finalist": outcome.finalist,
        "gain": gain_text(outcome.gain, outcome.objective),
        "num_search_seeds": _num_seeds(table, SEARCH),
        "num_check_seeds": _num_seeds(table, CHECK),
        "num_pool": first["num_pool"],
        "num_test": first["num_test"],
        "value_text": value_text,
        "images": {name: data_uri(png, "png") for name, png in images.items()},
    }
    return templates().get_template("tuning.html.jinja").render(context).encode()


def _sentence(text: str) -> str:
    """With a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."


def _num_seeds(table: pa.Table, phase: str) -> int:
    return len(table.filter(pc.field("phase") == phase)["seed"].unique())
