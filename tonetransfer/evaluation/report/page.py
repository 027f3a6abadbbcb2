"""Pages for a browser that need nothing from outside: the templates in templates/, which escape whatever they are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from ...errors import plural, printable
from ..compare import METRICS, Metric
from ..metrics import N_RESAMPLES
from .media import Contours

PLACES = {"source": "Source", "estimate": "Result", "reference": "Ground truth"}
WHY = {
    "all": ("All of them", ""),
    "random": ("Drawn at random", "neither the best nor the worst, so that no one chose them"),
    "best": ("The best", "by {ranking}"),
    "worst": ("The worst", "by {ranking}"),
}
HEADLINES = ("lsd60_db", "raw_pitch_accuracy", "classifier_success", "loudness_error_db")
COLUMNS = ("lsd60_db", "raw_pitch_accuracy", "pitch_error_cents", "loudness_error_db", "added_high_frequency_hz",
           "lost_high_frequency_hz", "embedding_distance", "classifier_success")  # fmt: skip
COMPARED = ("lsd60_db", "raw_pitch_accuracy", "loudness_error_db")  # columns of each of several systems
BY_KEY = {metric.key: metric for metric in METRICS}


@dataclass(frozen=True)
class PlayerView:
    """One take of an example: what it is called, its role for the player, a note, and its sound as a data URI."""

    role: str
    name: str
    note: str
    audio: str


@dataclass(frozen=True)
class ShownResult:
    """Figures of one system's result of an example."""

    name: str
    metrics: dict[str, float]
    heard_as: str | None
    wanted: str | None


@dataclass(frozen=True)
class Shown:
    """One example as it is shown."""

    number: int
    name: str
    seconds: float
    whole_seconds: float
    players: Sequence[PlayerView]
    contours: Sequence[Contours]
    results: Sequence[ShownResult] = ()
    heading: bool = True


def page(findings: dict[str, Any], systems: Sequence[dict[str, Any]], shown: Sequence[tuple[str, int, str]], *, ranking: str) -> str:
    """The whole report, of what stands in the JSON, and what was measured of each system, with its `name`.

    `shown` are the reason, a key of :data:`WHY`, the row and the HTML of examples (:func:`example_section`); `ranking` is the key of the
    metric by which best and worst were chosen.
    """
    rows = systems[0]["per_example"]
    keys = COMPARED if len(systems) > 1 else COLUMNS
    there = {key for system in systems for row in system["per_example"] for key in row["metrics"]}
    for system in systems:
        system["by_name"] = {row["name"]: row for row in system["per_example"]}
        system["has_source"] = any("source" in one for one in system["metrics"].values())
    frechet = [(system["name"], kind, found) for system in systems for kind, found in system["frechet"].items()]
    return _render(
        "report.html",
        title=findings["title"],
        findings=findings,
        systems=systems,
        sections=_headed(shown, BY_KEY[ranking].name if ranking in BY_KEY else ranking),
        shown_rows={rows[number]["name"]: number for _, number, _ in shown},
        n_groups=len({row["group"] for row in rows}),
        frechet=frechet,
        few_vectors=any(min(one["n_estimate"], one["n_reference"]) < 5 * one["n_dimensions"] for _, _, one in frechet),
        example_keys=[key for key in keys if key in there and key != "classifier_success"],
        method=_method(findings, systems, ranking),
        **_confusions(systems),
        **_descriptors(systems),
    )


def example_section(shown: Shown) -> Markup:
    """One example: player, contours and its own figures."""
    return Markup(_environment().get_template("parts.html").make_module(_shared()).example(shown))  # type: ignore[attr-defined]


def take_page(title: str, summary: str, shown: Shown, settings: Mapping[str, str], downloads: Sequence[tuple[str, str, str]]) -> str:
    """A page of one take; `downloads` are text, name and address of what it offers to be saved."""
    from importlib.metadata import version

    known = {"title": title, "summary": summary, "shown": shown, "settings": settings, "downloads": downloads}
    return _render("take.html", version=version("tonetransfer"), **known)


def _render(template: str, **known: Any) -> str:
    return _environment().get_template(template).render(**_shared(), **known)


def _shared() -> dict[str, Any]:
    return {"by_key": BY_KEY, "metrics": METRICS, "columns": COLUMNS, "headlines": HEADLINES, "resource": _resource}


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    loader = jinja2.PackageLoader("tonetransfer.evaluation.report", "templates")
    found = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, finalize=_finalize)
    found.filters |= {"figure": _figure, "range": _range, "short": _short, "count": plural, "words": lambda name: name.replace("_", " ")}
    found.filters |= {"item": lambda mapping, key: mapping.get(key), "best": _best}
    return found


def _finalize(value: Any) -> Any:
    """Signs that a page cannot show are written out."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _headed(shown: Sequence[tuple[str, int, str]], ranking: str) -> list[tuple[str, str, Markup]]:
    """Heading, its note and HTML of each example; only the first of each kind has a heading."""
    found, before = [], None
    for why, _, section in shown:
        title, note = WHY[why] if why != before else ("", "")
        found.append((title, note.format(ranking=ranking), Markup(section)))
        before = why
    return found


def _confusions(systems: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Tables of what the classifier hears: of each system, and of the ground truth."""
    first = systems[0]["confusion"]
    tables = [_confusion(one["confusion"], "estimate", one["name"] if len(systems) > 1 else "Results") for one in systems]
    if "name" in first["known_by"]:
        tables.append(_confusion(first, "reference", "Ground truth"))
    by = {"name": "its name", "reference": "what the classifier hears in the reference"}
    return {"confusions": [one for one in tables if one["total"]], "known_from": " or from ".join(by[one] for one in first["known_by"])}


def _confusion(confusion: dict[str, Any], role: str, title: str) -> dict[str, Any]:
    rows = list(zip(confusion["wanted"], confusion[role], strict=True))
    right = sum(row[confusion["heard"].index(name)] for name, row in rows)
    return {"title": title, "heard": confusion["heard"], "rows": rows, "right": right, "total": sum(map(sum, confusion[role]))}


def _descriptors(systems: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Columns of the table of descriptors, without those that have nothing."""
    columns = [(PLACES["source"], "source", systems[0])]
    columns += [(one["name"] if len(systems) > 1 else PLACES["estimate"], "estimate", one) for one in systems]
    columns.append((PLACES["reference"], "reference", systems[0]))
    found = [
        {"title": title, "found": {key: roles[role] for key, roles in one["descriptors"].items() if role in roles}}
        for title, role, one in columns
    ]
    found = [one for one in found if one["found"]]
    return {"descriptor_columns": found, "descriptor_keys": list(dict.fromkeys(key for one in found for key in one["found"]))}


def _method(findings: dict[str, Any], systems: Sequence[dict[str, Any]], ranking: str) -> list[str]:
    settings, versions = findings["settings"], findings["versions"]
    levels = (
        "each result was brought to the mean loudness of its reference's notes"
        if settings.get("match_level")
        else "results were given the gain with which their reference peaks at 0.7, and otherwise left as they are"
    )
    parts = [
        f"Sound is compared at {settings['sample_rate_hz']} Hz; of each file the first {settings['longest_s']:.0f} s count"
        + (f"; nothing is aligned in time; {levels}." if findings["kind"] == "pairs" else ", with a peak of 0.7."),
        "f0 and notes of every recording are found by the same tracker; its mistakes count.",
        f"Intervals are percentile bootstrap intervals of the mean ({N_RESAMPLES} resamples); examples that were made from the same "
        "performance are drawn together.",
        f"Best and worst are by {BY_KEY[ranking].name}{', as the mean of the systems' if len(systems) > 1 else ''}; "
        f"the random ones were drawn from the rest (seed {settings['seed']}).",
        "Roll-off above and below the reference is averaged apart, after Schaffer et al. (ISMIR 2022): noise that was added cannot make up "
        "for brilliance that was lost.",
        f"Made by tonetransfer {versions['tonetransfer']}; weights {versions['weights']}, classifier {versions['classifier']}.",
    ]
    rows = [row for system in systems for row in system["per_example"]]
    if low := [row for row in rows if row["highest_hz"] < 20000.0]:
        highest = min(row["highest_hz"] for row in low)
        what = f"{plural(len(low), 'result')} had a sample rate that holds nothing above {highest / 1000:.3g} kHz"
        parts.append(f"{what}: that counts as lost high frequencies.")
    if unequal := [row for row in rows if row.get("length_difference_s", 0.0) > 0.1]:
        parts.append(f"{plural(len(unequal), 'result')} differed in length from the reference by more than 0.1 s; the longer one was cut.")
    return parts


def _best(found: Sequence[dict[str, Any] | None], metric: Metric) -> dict[str, Any]:
    """The summary with the best mean."""
    choose = min if metric.better == "lower" else max
    return choose((one for one in found if one), key=lambda one: one["mean"])


def _figure(value: float, metric: Metric, *, unit: bool = True) -> str:
    """A value with its unit; shares as percent."""
    if not metric.unit and metric.better == "higher" or metric.key == "voicing_false_alarm":
        return f"{100 * value:.1f}{' %' if unit else ''}"
    return f"{_short(value)}{f' {metric.unit}' if unit and metric.unit else ''}"


def _range(found: dict[str, Any], metric: Metric) -> str:
    return " to ".join(_figure(found[end], metric, unit=False) for end in ("low", "high"))


def _short(value: float) -> str:
    """Three digits that mean something: 0.0312, 3.12, 312, 3120."""
    if value == 0:
        return "0"
    size = abs(value)
    text = f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.095 else f"{value:.2g}"
    return text.replace("-", "−")


def _resource(name: str) -> Markup:
    return Markup((resources.files("tonetransfer.evaluation.report") / name).read_text(encoding="utf-8"))
