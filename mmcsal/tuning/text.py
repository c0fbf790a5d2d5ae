"""The outcome of a search in words and in rows of text."""

from mmcsal.evaluation.statistics import Difference
from mmcsal.tuning.outcome import PRESENT, TELLING_COVERAGE, Outcome

NUM_SHOWN = 10


def verdict(outcome: Outcome) -> str:
    """What to do, and why, in a sentence that claims no more than the trials show."""
    gain = gain_text(outcome.gain, outcome.objective)
    if outcome.chosen != PRESENT:
        return f"setting {outcome.chosen} is better than the present one by {gain} on fresh seeds."
    if outcome.objective == "coverage":
        return (
            f"the present settings are kept: without labels nothing tells near-equal settings apart, and the best one, "
            f"{outcome.finalist}, covers {100 * (outcome.coverage_ratio - 1):+.1f}% more of the samples never selected "
            f"(at least {100 * TELLING_COVERAGE:+.0f}% would count)."
        )
    return f"the present settings are kept: the best other one, {outcome.finalist}, is within chance of them ({gain})."


def gain_text(gain: Difference, objective: str) -> str:
    """Such as `+.42 +- .11 points of accuracy, p = .004`."""
    return f"{100 * gain.mean:+.2f} +- {100 * gain.standard_error:.2f} points of {objective}, p = {gain.p_value:.2g}"


def caveats(outcome: Outcome) -> list[str]:
    """What the reader should not trust."""
    found = []
    if outcome.objective == "coverage":
        found.append(
            "there are no labels: settings are judged by coverage, which guards against bad ones and does not rank "
            "good ones; label a first batch and tune again with --labels"
        )
    if outcome.correlation is not None:
        found.append(
            f"rank correlation of coverage, the judge where there are no labels, with accuracy over these settings: "
            f"{outcome.correlation:+.2f}"
        )
    if outcome.chosen != PRESENT and outcome.coverage_ratio < 1 - TELLING_COVERAGE:
        found.append(
            f"warning: setting {outcome.chosen} covers {100 * (1 - outcome.coverage_ratio):.1f}% less of the samples "
            "never selected than the present settings: it may suit the labeled samples better than the rest of the pool"
        )
    return found


def text_of(outcome: Outcome) -> list[str]:
    """The best settings as rows of text, then the verdict and what not to trust."""
    keys = list(outcome.lines[0].settings)
    shown = outcome.lines[:NUM_SHOWN]
    shown += [line for line in outcome.lines[NUM_SHOWN:] if line.setting == PRESENT]
    heads = ["setting", "accuracy", "coverage", "less present", *(key.removeprefix("select.") for key in keys)]
    rows = [
        [
            "present" if line.setting == PRESENT else str(line.setting),
            "-" if line.accuracy is None else f"{100 * line.accuracy:.2f}",
            f"{100 * line.coverage:.2f}",
            f"{100 * line.gain:+.2f}",
            *(value_text(line.settings[key]) for key in keys),
        ]
        for line in shown
    ]
    widths = [max(len(row[n]) for row in [heads, *rows]) for n in range(len(heads))]
    table = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in [heads, *rows]]
    if len(outcome.lines) > len(shown):
        table.append(f"... {len(outcome.lines) - len(shown)} more, in the table")
    return [*table, verdict(outcome), *caveats(outcome)]


def value_text(value: object) -> str:
    """A number to three digits, anything else as it is."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
