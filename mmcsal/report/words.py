"""The sentences and numbers of the report. Pure functions of RunFacts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmcsal.report.budget import budget_of
from mmcsal.report.facts import RunFacts, Series, StageRun

REASON_MEANINGS = {
    "missing_file": "the path does not exist or may not be read",
    "empty_file": "the file has no bytes",
    "not_media": "no media container that the decoder knows",
    "no_video": "the file has no video stream",
    "no_audio": "the file has no audio stream",
    "too_short": "less video or sound than media.min_duration_s",
    "decode_error": "the streams are damaged or cut off",
    "too_large": "more pixels, frames, streams or memory than the limits of media allow",
    "changed": "the file is no longer the one that the manifest was made of",
    "timeout": "decoding took longer than media.timeout_s",
    "crash": "the decoder process died on it",
    "missing_modality": "an embedding of one modality without the other",
    "zero_vector": "an embedding without a direction",
    "not_finite": "an embedding with values that are no numbers",
    "bad_name": "the name of the file is not UTF-8",
    "unreadable_folder": "a folder that may not be listed: what is in it is not known",
}
SUMMARY_MEANINGS = {
    "strategy": "the rule that chose the picks",
    "num_pool": "samples that could be picked",
    "num_labeled": "samples of the pool that have labels already",
    "num_rejected": "samples left out because their vectors were bad",
    "budget": "the labels that were asked for",
    "total_cost": "what the picks cost together",
    "coverage": "how well the picks stand for the pool; 1 is all of it",
    "coverage_random": "the same for as many random picks",
    "gain_over_random": "of what as many random picks leave uncovered, the share that the picks cover",
    "random_equivalent_budget": "random picks that reach the same coverage",
    "knee": "labels after which each further one brings less than the average",
    "mean_alignment": "how well the picks' modalities agree, 0 to 1",
    "alignment": "the term of the objective: alignment up to align_threshold, as a share of it",
    "redundancy": "how close a pick lies to those before it, 0 to 1; less is more diverse",
    "objective": "coverage, plus lambda_align times alignment, less lambda_div times redundancy",
    "mean_gain": "what a pick added to the objective, on average",
    "num_swaps": "times that a pick was exchanged for a better one",
    "swap_gain": "the share of the objective that these swaps added",
    "num_duplicates": "picks much like an earlier one, taken only because nothing else was left",
    "separation": "how well matching pairs can be told from shuffled ones, or decoys: 0.5 not at all, 1 always",
    "mispaired_share": "of the pool's pairs, how many look mispaired; an upper estimate",
    "lambda_align": "weight of alignment, as configured",
    "applied_lambda_align": "weight of alignment, less than configured where separation is low",
    "lambda_div": "weight of redundancy",
    "align_threshold": "alignment below which a sample counts as misaligned",
    "bandwidth": "width of the kernel that says how similar two samples are",
    "num_cells": "parts of the joint embedding space that proposed picks",
    "num_candidates": "samples that they proposed",
    "num_shortlisted": "of these, how many competed in the merge",
    "warning": "what to keep in mind",
    "alignment_told": "how many pairs look mispaired, how sure that is, and what it did to the batch",
    "num_rows_solved": "samples that the gains are sums over",
    "num_null": "decoys, or other pairs that do not belong together, that alignment was calibrated against",
    "num_near_anchors": "anchors that count as near when alignment is measured",
    "seed": "with the same tables, the same seed gives the same picks",
}
# Said elsewhere, or of use to code alone.
HIDDEN_SUMMARY = ("random_equivalent_is_bound", "gain_unit")


@dataclass(frozen=True)
class Verdict:
    """The answer: one sentence, one that supports it, and the two batch sizes that it compares, where known."""

    sentence: str
    support: str
    random_budget: int | None = None
    is_bound: bool = False  # `random_budget` or more


def verdict(facts: RunFacts) -> Verdict:
    """What to label, and what the same coverage would take without this tool."""
    if not facts.num_selected:
        return Verdict("Nothing was selected.", "The pool or the budget was empty.")
    order = "first" if facts.round == 0 else "next"
    action = f"Label {_these(facts.num_selected, noun(facts))} {order}"
    pronoun = "it covers" if facts.num_selected == 1 else "they cover"
    support = _support(facts)
    random_budget, is_bound = _random_budget(facts)
    if random_budget is None:
        if "random_equivalent_budget" in facts.summary:
            return Verdict(f"{action}: {pronoun} the pool better than any random batch that could be tried.", support)
        return Verdict(f"{action}.", support)
    if random_budget > facts.num_selected:
        as_well = f"{'at least ' if is_bound else ''}{random_budget:,} random picks would"
        return Verdict(f"{action}: {pronoun} the pool as well as {as_well}.", support, random_budget, is_bound)
    sentence = f"{action}. By coverage alone, {_random_picks(random_budget)} would do as well."
    return Verdict(sentence, support, random_budget)


def noun(facts: RunFacts) -> str:
    """What a sample is called, in the plural."""
    if {"image", "text"} <= set(facts.modalities):
        return "images with text"
    return "clips" if not facts.modalities or {"video", "audio"} & set(facts.modalities) else "samples"


def budget_sentences(facts: RunFacts) -> list[str]:
    """What fewer labels would keep, and what random picks would need; as far as the run measured it."""
    if not facts.num_selected:
        return []
    return [sentence for sentence in (_knee_sentence(facts), _random_sentence(facts)) if sentence]


def _knee_sentence(facts: RunFacts) -> str:
    budget = budget_of(facts)
    if not budget or budget.knee is None or budget.knee_share is None:
        return ""
    keep = f"Stopping after {_labels(budget.knee)} would keep {percent(budget.knee_share)} of the gain in coverage"
    return f"{keep}: each label after {'it' if budget.knee == 1 else 'them'} brings less than the average."


def _random_sentence(facts: RunFacts) -> str:
    random_budget, is_bound = _random_budget(facts)
    if random_budget is None:
        tried = "random_equivalent_budget" in facts.summary
        return "No random batch that could be tried reaches the same coverage." if tried else ""
    need = f"Random picks would need {'at least ' if is_bound else ''}{_labels(random_budget)} for the same coverage"
    ratio = round(random_budget / facts.num_selected, 1)
    return f"{need}, {number(ratio)} times as many." if ratio > 1 and not is_bound else f"{need}."


def _random_budget(facts: RunFacts) -> tuple[int | None, bool]:
    """Random picks that cover the pool as well, and whether more may be needed; None where it is not known."""
    labels, is_bound = facts.summary.get("random_equivalent_budget"), facts.summary.get("random_equivalent_is_bound")
    if labels is None or (is_bound and labels <= facts.num_selected):  # such a bound says nothing of the selection
        return None, False
    return int(labels), bool(is_bound)


def _labels(count: int) -> str:
    return "1 label" if count == 1 else f"{count:,} labels"


def _these(count: int, plural: str) -> str:
    singular = {"clips": "this clip", "samples": "this sample", "images with text": "this image with its text"}
    return singular[plural] if count == 1 else f"these {count:,} {plural}"


def _random_picks(count: int) -> str:
    return "1 random pick" if count == 1 else f"{count:,} random picks"


def _support(facts: RunFacts) -> str:
    """The numbers under the verdict; empty where the run has none."""
    parts = []
    coverage, coverage_random = facts.summary.get("coverage"), facts.summary.get("coverage_random")
    if coverage is not None and coverage_random is not None:
        versus = f"{number(coverage_random)} for {_random_picks(facts.num_selected)}"
        parts.append(f"Their coverage of the pool is {number(coverage)}, against {versus}.")
    elif coverage is not None:
        parts.append(f"Their coverage of the pool is {number(coverage)}.")
    if facts.num_pool:
        share = facts.num_selected / facts.num_pool
        parts.append(f"They are {percent(share)} of a pool of {facts.num_pool:,}.")
    text = " ".join(parts)
    return text if facts.num_selected != 1 else text.replace("Their", "Its").replace("They are", "It is")


def change_sentence(series: Series) -> str:
    """How a metric went from before training, or the first epoch, to its end."""
    name = spoken(series.name)
    if len(series.values) < 2:
        return f"The {name} is {number(series.last)}."
    start, end = ("before training", "after it") if series.before is not None else ("in the first epoch", "in the last")
    if series.last == series.first:
        return f"The {name} stayed at {number(series.last)}."
    verb = "fell" if series.last < series.first else "rose"
    return f"The {name} {verb} from {number(series.first)} {start} to {number(series.last)} {end}."


def run_sentences(stages: Sequence[StageRun]) -> list[str]:
    """How long all took and what took longest, what was tried again, and what the times leave out."""
    timed = [stage for stage in stages if stage.wall_s]
    sentences = []
    if timed:
        total_s, longest = sum(stage.wall_s or 0 for stage in timed), max(timed, key=lambda stage: stage.wall_s or 0)
        share = percent((longest.wall_s or 0) / total_s)
        together = f"The stages took {duration(total_s)} together, {share} of it in {longest.name}."
        sentences.append(together if len(timed) > 1 else f"{longest.name} took {duration(total_s)}.")
    if retried := [f"{stage.name} {_times(stage.num_retries)}" for stage in stages if stage.num_retries]:
        sentences.append(f"Tried again after a failure: {', '.join(retried)}.")
    if any(stage.state == "resumed" for stage in stages):
        sentences.append("The time of a resumed stage is that of its last attempt alone.")
    return sentences


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def pace(stage: StageRun) -> str:
    """Items per second, or where that is less than one, the time of one item; empty where unknown."""
    rate_hz = stage.rate_hz
    if rate_hz is None:
        return ""
    return f"{number(rate_hz)} a second" if rate_hz >= 1 else f"{duration(1 / rate_hz)} each"


def spoken(name: str) -> str:
    """The name of a metric or reason as words."""
    if name.startswith("recall_at_1_"):
        return f"recall at 1 ({name.removeprefix('recall_at_1_').replace('_', ' ')})"
    return {"gap": "modality gap", "loss": "loss"}.get(name, name.replace("_", " "))


def summary_rows(summary: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(name, value, meaning) of the numbers that selection reported; lists belong to figures."""
    known = [name for name in SUMMARY_MEANINGS if name in summary]
    rest = sorted(name for name in summary if name not in SUMMARY_MEANINGS and name not in HIDDEN_SUMMARY)
    rows = []
    for name in [*known, *rest]:
        value = summary[name]
        if name == "random_equivalent_budget" and value is None:
            value = "more than the pool can tell"
        elif name == "random_equivalent_budget" and summary.get("random_equivalent_is_bound"):
            value = f"{number(value)} or more"
        if value is not None and not isinstance(value, list | dict):
            rows.append((name, number(value), SUMMARY_MEANINGS.get(name, "")))
    return rows + _part_rows(summary.get("parts", {}))


def _part_rows(parts: dict[str, dict[str, float]]) -> list[tuple[str, str, str]]:
    """What each kernel of a mixed coverage covers; nothing where there is one alone."""
    if len(parts) < 2:
        return []
    return [
        (f"coverage by {name}", number(part["coverage"]), f"counts {percent(part['weight'])} of the coverage")
        for name, part in parts.items()
    ]


def number(value: Any) -> str:
    """A number for people: whole ones grouped by thousands, others to three digits; other values as they are."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return "not finite"
    if abs(value) >= 1000 or (value == int(value) and abs(value) >= 10):
        return f"{value:,.0f}"
    return "0" if value == 0 else f"{value:.3f}" if 0.1 <= abs(value) < 1 else f"{value:.3g}"


def percent(share: float) -> str:
    """A share as a percentage, with more digits the smaller it is."""
    return f"{share * 100:.0f} %" if share >= 0.1 else f"{share * 100:.2g} %"


def duration(wall_s: float) -> str:
    """Seconds as people say them."""
    if wall_s < 60:
        return f"{wall_s:.1f} s"
    minutes, seconds = divmod(round(wall_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"
