"""Writes the report: one offline HTML file, its pictures beside it, and the selection as CSV."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmcsal.contracts.selection import SELECTION
from mmcsal.report import figures, pictures, words
from mmcsal.report.budget import budget_of
from mmcsal.report.facts import ContactClip, Pick, RunFacts
from mmcsal.report.gather import gather, read_picks
from mmcsal.report.spec import ReportSpec
from mmcsal.report.templates import data_uri, templates
from mmcsal.storage.csv_cells import csv_text
from mmcsal.storage.rundir import RunDir

FOLDER = "report"
PICTURES = ("budget", "contact_sheet", "gap", "losses", "map", "rejects")
SECTIONS = {
    "picks": "Picks",
    "contact-sheet": "Contact sheet",
    "map": "Map",
    "budget": "Budget",
    "gap": "Modality gap",
    "losses": "Losses",
    "metrics": "Measurements",
    "rejects": "Rejects",
    "numbers": "Numbers",
    "run": "The run",
    "next": "What to do next",
    "config": "Configuration",
}


@dataclass(frozen=True)
class Card:
    """One pick of the contact sheet as the template shows it; pictures are data URIs."""

    pick: Pick
    strip: str | None
    mel: str | None
    text: str | None
    caption: str


@dataclass(frozen=True)
class Tile:
    """One key number."""

    name: str
    value: str
    more: str = ""


def build_report(run_dir: RunDir, spec: ReportSpec | None = None) -> str:
    """Writes `report/` of a run from its committed tables and returns the path of `report.html`.

    The same tables give the same bytes. Every table but the selection may be absent.

    Raises:
        InputError: the run directory holds no selection.
    """
    spec = spec or ReportSpec()
    facts = gather(run_dir, spec)
    images = draw(facts, spec)
    for name, png in images.items():
        run_dir.write_bytes(png, FOLDER, f"{name}.png")
    run_dir.write_bytes(selection_csv(read_picks(run_dir)), FOLDER, "selection.csv")
    # The HTML last: whoever sees it finds everything that it refers to.
    run_dir.write_bytes(render(facts, spec, images).encode(), FOLDER, "report.html")
    for name in PICTURES:  # of an earlier report, of tables that are gone
        if name not in images and run_dir.exists(FOLDER, f"{name}.png"):
            run_dir.filesystem.delete_file(run_dir.path(FOLDER, f"{name}.png"))
    return run_dir.path(FOLDER, "report.html")


def draw(facts: RunFacts, spec: ReportSpec) -> dict[str, bytes]:
    """The PNGs that there is data for, by name."""
    images: dict[str, bytes] = {}
    visible = tuple(c for c in facts.contact if c.frames_THWC is not None or c.sound_L is not None)
    if visible:
        images["contact_sheet"] = pictures.contact_sheet_png(visible, spec.num_frames_per_clip)
    if facts.map_points is not None:
        images["map"] = figures.map_png(facts.map_points)
    if budget := budget_of(facts):
        images["budget"] = figures.budget_png(budget)
    if losses := facts.series_named("loss"):
        images["losses"] = figures.losses_png(losses)
    gaps, retrievals = facts.series_named("gap"), facts.series_named("recall_at_1")
    if gaps or retrievals:
        images["gap"] = figures.gap_png(gaps, retrievals)
    if facts.rejects:
        images["rejects"] = figures.rejects_png(facts.rejects)
    return images


def selection_csv(picks: Sequence[Pick]) -> bytes:
    """The selection for people without Parquet.

    The values are those of the table, but that a text which a spreadsheet would run has a mark before it.
    """
    rows = ([getattr(pick, name) for name in SELECTION.names] for pick in picks)
    # The mark at the beginning tells spreadsheets that this is UTF-8.
    return csv_text(SELECTION.names, rows).encode("utf-8-sig")


def render(facts: RunFacts, spec: ReportSpec, images: dict[str, bytes]) -> str:
    """The HTML. All text of the user goes through the template's escaping, none around it."""
    environment = templates()
    environment.filters.update(
        number=words.number,
        percent=words.percent,
        duration=words.duration,
        pace=words.pace,
        percent_width=lambda value: round(min(100.0, max(0.0, value)), 1) if value == value else 0,
    )
    return environment.get_template("report.html.jinja").render(_context(facts, spec, images))


def _context(facts: RunFacts, spec: ReportSpec, images: dict[str, bytes]) -> dict[str, Any]:
    losses, gaps = facts.series_named("loss"), facts.series_named("gap")
    retrievals = facts.series_named("recall_at_1")
    budget = budget_of(facts)
    context = {
        "spec": spec,
        "facts": facts,
        "verdict": words.verdict(facts),
        "tiles": _tiles(facts),
        "listed": facts.picks[: spec.num_table_picks],
        "cards": [_card(clip, spec) for clip in facts.contact],
        "contact_legend": _contact_legend(facts),
        "images": {name: data_uri(png, "png") for name, png in images.items() if name != "contact_sheet"},
        "map_is_sample": facts.map_points is not None and facts.map_points.num_points < (facts.num_pool or 0),
        "budget": budget,
        "budget_sentences": words.budget_sentences(facts),
        "gap_sentences": [words.change_sentence(s) for s in gaps],
        "retrieval_sentences": [words.change_sentence(s) for s in retrievals],
        "loss_sentence": words.change_sentence(losses[0]) if losses else "",
        "loss_names": [s.name for s in losses],
        "metrics": facts.other_series(),
        "reject_words": ", ".join(f"{r.reason} {r.count}" for r in facts.rejects or ()),
        "reason_meanings": words.REASON_MEANINGS,
        "run_sentences": words.run_sentences(facts.stage_runs),
        "summary_rows": words.summary_rows(facts.summary),
    }
    return {**context, "sections": _sections(context)}


def _sections(context: dict[str, Any]) -> dict[str, str]:
    """Anchors and names of the sections that there is data for."""
    facts, images = context["facts"], context["images"]
    shown = {
        "contact-sheet": context["cards"],
        "map": "map" in images,
        "budget": "budget" in images,
        "gap": "gap" in images,
        "losses": "losses" in images,
        "metrics": context["metrics"],
        "rejects": facts.rejects is not None,
        "numbers": context["summary_rows"],
        "run": facts.stage_runs,
        "config": facts.config_text,
    }
    return {anchor: name for anchor, name in SECTIONS.items() if shown.get(anchor, True)}


def _tiles(facts: RunFacts) -> list[Tile]:
    """The key numbers, along the way of a sample from the corpus to the batch."""
    tiles = []
    if facts.num_scanned is not None:
        tiles.append(Tile("Scanned", words.number(facts.num_scanned), "samples in the manifest"))
    if facts.num_rejected is not None:
        tiles.append(Tile("Rejected", words.number(facts.num_rejected), _reject_tile(facts)))
    if facts.num_pool is not None:
        tiles.append(Tile("In the pool", words.number(facts.num_pool), "could be picked"))
    share = f"{words.percent(facts.num_selected / facts.num_pool)} of the pool" if facts.num_pool else ""
    tiles.append(Tile("Selected", words.number(facts.num_selected), share))
    if gaps := [s for s in facts.series_named("gap") if s.name == "gap"]:
        start = "before training" if gaps[0].before is not None else "in the first epoch"
        more = f"from {words.number(gaps[0].first)} {start}" if len(gaps[0].values) > 1 else ""
        tiles.append(Tile("Modality gap", words.number(gaps[0].last), more))
    return tiles


def _reject_tile(facts: RunFacts) -> str:
    """The commonest reasons; the section on rejects has them all."""
    if not facts.rejects:
        return "every sample could be read"
    first = [f"{words.number(r.count)} {words.spoken(r.reason)}" for r in facts.rejects[:3]]
    rest = sum(r.count for r in facts.rejects[3:])
    return ", ".join([*first, *([f"{words.number(rest)} other"] if rest else [])])


def _card(clip: ContactClip, spec: ReportSpec) -> Card:
    frames, sound = clip.frames_THWC, clip.sound_L
    parts = [f"{clip.duration_s:.1f} s"] if clip.duration_s is not None else []
    parts += [f"stands for {words.number(clip.pick.mass)}", f"alignment {clip.pick.alignment:.2f}"]
    return Card(
        pick=clip.pick,
        strip=None if frames is None else data_uri(pictures.strip_jpeg(frames, spec.num_frames_per_clip), "jpeg"),
        mel=None if sound is None else data_uri(pictures.log_mel_png(sound, clip.sample_rate_hz), "png"),
        text=clip.text,
        caption=" · ".join(parts),
    )


def _contact_legend(facts: RunFacts) -> str:
    parts = []
    if any(c.frames_THWC is not None for c in facts.contact):
        parts.append("frames from beginning to end")
    if any(c.sound_L is not None for c in facts.contact):
        parts.append("the sound as a log-mel picture (time to the right, pitch upwards, bright is loud)")
    if any(c.text for c in facts.contact):
        parts.append("the text")
    return ", and ".join(parts)
