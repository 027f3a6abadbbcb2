"""The report as one page of HTML that needs nothing from outside. All text that comes from elsewhere is escaped in :func:`_text`."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from ...errors import printable
from ..bootstrap import N_RESAMPLES
from ..compare import METRICS, Metric

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
SECTIONS = {
    "listen": "Listen",
    "metrics": "Metrics",
    "classifier": "Classifier",
    "descriptors": "Descriptors",
    "examples": "All examples",
    "method": "Method",
}
BY_KEY = {metric.key: metric for metric in METRICS}
SECURITY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


@dataclass(frozen=True)
class PlayerView:
    """One recording of an example: sound and spectrogram as data URIs."""

    role: str
    name: str
    audio: str
    spectrogram: str


@dataclass(frozen=True)
class Contours:
    """Lines over each other: a path for each role, and what stands at the side."""

    title: str
    paths: dict[str, str]
    marks: list[tuple[str, float]]


@dataclass(frozen=True)
class Shown:
    """One example as it is shown."""

    number: int
    name: str
    why: str
    seconds: float
    whole_seconds: float
    metrics: dict[str, float]
    heard_as: str | None
    wanted: str | None
    players: list[PlayerView]
    contours: list[Contours]
    marks: list[tuple[str, float]]


def page(findings: dict[str, Any], shown: Sequence[str], *, ranking: str) -> str:
    """The whole page.

    Parameters
    ----------
    findings : dict
        What stands in the JSON.
    shown : sequence of str
        Examples as :func:`example_section` gives them, with :data:`WHY` as a heading before the first of each kind.
    ranking : str
        Key of the metric by which best and worst were chosen.
    """
    title = _text(findings["title"])
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{SECURITY}">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{_resource("report.css")}</style>
</head>
<body>
<header class="top"><nav aria-label="Sections">{_links()}</nav>\
<button id="theme" type="button" hidden>Dark</button></header>
<main>
<h1>{title}</h1>
<p class="lead">{_lead(findings)}</p>
{_headlines(findings)}
<section id="listen"><h2>Listen</h2>{_listening(findings)}
{"".join(shown)}</section>
<section id="metrics"><h2>Metrics</h2>{_metrics_table(findings)}{_frechet(findings)}</section>
<section id="classifier"><h2>What a classifier hears</h2>{_confusion(findings)}</section>
<section id="descriptors"><h2>Timbre descriptors</h2>{_descriptor_table(findings)}</section>
<section id="examples"><h2>All examples</h2>{_example_table(findings)}</section>
<section id="method"><h2>Method</h2>{_method(findings, ranking)}</section>
</main>
<script>{_resource("report.js")}</script>
</body>
</html>
"""


def _links() -> str:
    return "".join(f'<a href="#{name}">{title}</a>' for name, title in SECTIONS.items())


def kind_heading(why: str, ranking: str) -> str:
    """Heading before the examples of one kind."""
    title, note = WHY[why]
    name = BY_KEY[ranking].name if ranking in BY_KEY else ranking
    return f'<h3 class="why">{title} <span>{note.format(ranking=_text(name))}</span></h3>'


def example_section(example: Shown) -> str:
    """One example: players, spectrograms, contours and its own figures."""
    figures = "".join(
        f"<li><span>{_text(BY_KEY[key].name)}</span> <b>{_figure(example.metrics[key], BY_KEY[key])}</b></li>"
        for key in COLUMNS
        if key in example.metrics and key != "classifier_success"
    )
    if example.heard_as is not None:
        verdict = "" if example.wanted is None else (" good" if example.heard_as == example.wanted else " bad")
        figures += f'<li class="heard{verdict}"><span>Heard as</span> <b>{_text(_words(example.heard_as))}</b></li>'
    cut = f", the first {example.seconds:.0f} s of {example.whole_seconds:.0f}" if example.whole_seconds > example.seconds + 0.5 else ""
    players = "".join(_player(one, example) for one in example.players)
    contours = "".join(_contours(one, example.seconds) for one in example.contours)
    return (
        f'<article class="example" id="example-{example.number}" data-seconds="{example.seconds:.3f}"><h4>{_text(_words(example.name))}'
        f'<span class="cut">{cut}</span></h4><div class="players">{players}</div><div class="contours">{contours}</div>'
        f'<ul class="figures">{figures}</ul></article>'
    )


def _player(player: PlayerView, example: Shown) -> str:
    marks = "".join(f'<i style="bottom:{100 * height:.1f}%">{name}</i>' for name, height in example.marks)
    label = f"{PLACES[player.role]} of {_text(example.name)}"
    who = f" <span>{_text(_words(player.name))}</span>" if player.name else ""
    return (
        f'<figure class="{player.role}"><figcaption>{PLACES[player.role]}{who}</figcaption>'
        f'<audio controls preload="metadata" src="{player.audio}" aria-label="{label}"></audio>'
        f'<div class="picture"><img src="{player.spectrogram}" alt="Spectrogram: {label}">{marks}<div class="head"></div></div></figure>'
    )


def _contours(contours: Contours, seconds: float) -> str:
    order = sorted(contours.paths, key=list(PLACES).index)
    lines = "".join(f'<path class="{role}" d="{contours.paths[role]}"/>' for role in order)
    grid = "".join(f'<line x1="0" x2="1000" y1="{100 - 100 * height:.1f}" y2="{100 - 100 * height:.1f}"/>' for _, height in contours.marks)
    names = "".join(f'<i style="bottom:{100 * height:.1f}%">{_text(name)}</i>' for name, height in contours.marks)
    legend = "".join(f'<span class="{role}">{PLACES[role]}</span>' for role in order)
    label = f"{contours.title} over {seconds:.1f} s"
    return (
        f'<div class="contour"><p>{contours.title} <span class="legend">{legend}</span></p><div class="plot">'
        f'<svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label="{label}">{grid}{lines}</svg>'
        f'{names}<div class="head"></div></div></div>'
    )


def _lead(findings: dict[str, Any]) -> str:
    n, left_out = findings["examples"], len(findings["left_out"])
    groups = len({row["group"] for row in findings["per_example"]})
    kinds = {
        "pairs": f"{_count(n, 'result')} compared with the reference of the same name.",
        "parallel": f"{_count(n, 'transfer')} of {_count(groups, 'performance')}, each compared with a recording of the same performance "
        "on the instrument that was asked for.",
        "recordings": f"{_count(groups, 'recording')} played on instruments, {_count(n, 'transfer')} in all. No right answer is known: "
        "pitch and loudness are compared with what was asked for.",
    }
    more = f' <a href="#left-out">{_count(left_out, "file")} left out or incomplete.</a>' if left_out else ""
    return kinds[findings["kind"]] + more


def _headlines(findings: dict[str, Any]) -> str:
    cards = []
    for key in HEADLINES:
        if (found := findings["metrics"].get(key)) is None:
            continue
        metric = BY_KEY[key]
        source = f"<small>source as it is: {_figure(found['source']['mean'], metric)}</small>" if "source" in found else ""
        cards.append(
            f"<div><span>{metric.name}</span><b>{_figure(found['mean'], metric)}</b>"
            f"<small>95 %: {_range(found, metric)}</small>{source}</div>"
        )
    return f'<div class="cards">{"".join(cards)}</div>'


def _listening(findings: dict[str, Any]) -> str:
    n, of = len(findings["shown"]), findings["examples"]
    return (
        f"<p>{n} of {of} can be heard here, in a page of at most {findings['settings']['megabytes']:g} MB. "
        "Press play on one and then on its neighbour: the second goes on where the first was. "
        "A click into a spectrogram goes to that place. Spectrograms reach from 60 Hz to 24 kHz, octaves equally high, and 80 dB deep "
        "from the loudest place of the example.</p>"
    )


def _metrics_table(findings: dict[str, Any]) -> str:
    has_source = any("source" in one for one in findings["metrics"].values())
    rows = []
    for metric in METRICS:
        if (found := findings["metrics"].get(metric.key)) is None:
            continue
        arrow = {"lower": "↓", "higher": "↑"}[metric.better]
        source = ""
        if has_source:
            source = _cell(found["source"]["mean"], metric) if "source" in found else "<td></td>"
        rows.append(
            f'<tr><td>{metric.group}</td><th scope="row">{metric.name} <span title="{metric.better} is better">{arrow}</span>'
            f"<small>{metric.meaning}</small></th>{_cell(found['mean'], metric)}"
            f'<td class="number" data-value="{found["low"]:.6g}">{_range(found, metric)}</td>'
            f'{source}<td class="number" data-value="{found["count"]}">{found["count"]}</td></tr>'
        )
    heads = ["", "Metric", "Mean", "95 % interval", *(["Source as it is"] if has_source else []), "n"]
    return _table(heads, rows, "metrics") + (
        "<p class='note'>↓ lower is better, ↑ higher is better. A metric counts the examples in which it has a meaning (n). "
        + ("“Source as it is” is the same figure for the recording before anything was done to it.</p>" if has_source else "</p>")
    )


def _frechet(findings: dict[str, Any]) -> str:
    names = {"z": "on z, the timbre vector (2 s excerpts)", "classifier": "on the last features of the classifier (its windows)"}
    rows = [
        f'<tr><th scope="row">{names[kind]}</th><td class="number">{found["distance"]:.4g}</td>'
        f'<td class="number">{"" if found["extrapolated"] is None else format(found["extrapolated"], ".4g")}</td>'
        f'<td class="number">{found["of_identical_sets"]:.4g}</td>'
        f'<td class="number">{found["n_estimate"]} / {found["n_reference"]}</td><td class="number">{found["n_dimensions"]}</td></tr>'
        for kind, found in findings["frechet"].items()
    ]
    if not rows:
        return ""
    small = any(min(f["n_estimate"], f["n_reference"]) < 5 * f["n_dimensions"] for f in findings["frechet"].values())
    warning = "<b>Fewer than five vectors a dimension: the distance as it is says little here.</b> " if small else ""
    return (
        "<h3>Fréchet distance of the whole sets</h3>"
        + _table(["", "Distance", "For n → ∞", "Of identical sets", "Results / references", "Dimensions"], rows, "frechet")
        + f"<p class='note'>{warning}Small sets read too far apart; “for n → ∞” is extrapolated to sets without end by a line "
        "over 1/n, where there are vectors enough. "
        f"Lower is better; it has no unit and no meaning across embeddings (Kilgour et al. 2019; extrapolation: Gui et al. 2024).</p>"
    )


def _confusion(findings: dict[str, Any]) -> str:
    confusion = findings["confusion"]
    if not confusion["wanted"]:
        return "<p>No instrument was known or recognised.</p>"
    by = {"name": "its name", "reference": "what the classifier hears in the reference"}
    known = " or from ".join(by[one] for one in confusion["known_by"])
    parts = [
        _matrix(confusion, role, title)
        for role, title in (("estimate", "Results"), ("reference", "Ground truth"))
        if any(map(any, confusion[role])) and (role == "estimate" or "name" in confusion["known_by"])
    ]
    note = f"Rows: the instrument that was wanted, known from {known}. Columns: what the classifier hears. Numbers are examples."
    return f"<p>{note}</p><div class='matrices'>{''.join(parts)}</div>"


def _matrix(confusion: dict[str, Any], role: str, title: str) -> str:
    counts, columns = confusion[role], confusion["heard"]
    right = sum(row[columns.index(name)] for name, row in zip(confusion["wanted"], counts, strict=True))
    total = sum(map(sum, counts))
    heads = "".join(f'<th scope="col"><span>{_text(_words(name))}</span></th>' for name in columns)
    body = []
    for name, row in zip(confusion["wanted"], counts, strict=True):
        cells = "".join(
            f'<td class="{"hit" if column == name else "miss"}" style="--share:{count / max(sum(row), 1):.3f}">{count or ""}</td>'
            for column, count in zip(columns, row, strict=True)
        )
        body.append(f'<tr><th scope="row">{_text(_words(name))}</th>{cells}</tr>')
    return (
        f'<div class="scroll" tabindex="0"><table class="matrix"><caption>{title}: {right} of {total} as wanted</caption>'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _descriptor_table(findings: dict[str, Any]) -> str:
    roles = [role for role in PLACES if any(role in one for one in findings["descriptors"].values())]
    if not roles:
        return "<p>Nothing has a note that could be described.</p>"
    rows = []
    for key, found in findings["descriptors"].items():
        cells = "".join(
            f'<td class="number" data-value="{found[role]["mean"]:.6g}">{_short(found[role]["mean"])}'
            f"<small>{_short(found[role]['low'])} to {_short(found[role]['high'])}</small></td>"
            if role in found
            else "<td></td>"
            for role in roles
        )
        rows.append(f'<tr><th scope="row"><code>{key}</code></th>{cells}</tr>')
    return _table(["Descriptor", *(PLACES[role] for role in roles)], rows, "descriptors") + (
        "<p class='note'>Means over examples with notes, with 95 % intervals below. Units are the ends of the names; "
        "<code>tonetransfer analyze</code> gives all descriptors of one recording.</p>"
    )


def _example_table(findings: dict[str, Any]) -> str:
    keys = [key for key in COLUMNS if any(key in row["metrics"] for row in findings["per_example"]) and key != "classifier_success"]
    shown = {one["name"] for one in findings["shown"]}
    rows = []
    for number, row in enumerate(findings["per_example"]):
        name = _text(_words(row["name"]))
        if row["name"] in shown:
            name = f'<a href="#example-{number}">{name}</a>'
        cells = "".join(_cell(row["metrics"][key], BY_KEY[key]) if key in row["metrics"] else "<td></td>" for key in keys)
        heard = row["heard_as"].get("estimate")
        mark = "" if heard is None or row["wanted"] is None else (" ✓" if heard == row["wanted"] else " ✗")
        rows.append(f'<tr><th scope="row">{name}</th>{cells}<td>{_text(_words(heard or ""))}{mark}</td></tr>')
    heads = ["Example", *(f"{BY_KEY[key].name}{f' [{BY_KEY[key].unit}]' if BY_KEY[key].unit else ''}" for key in keys), "Heard as"]
    return (
        _table(heads, rows, "examples")
        + "<p class='note'>Click a heading to sort. All metrics of all examples are in the JSON beside this page.</p>"
    )


def _method(findings: dict[str, Any], ranking: str) -> str:
    longest_s = findings["settings"]["longest_s"]
    levels = (
        "each result was brought to the mean loudness of its reference's notes"
        if findings["settings"].get("match_level")
        else "results were given the gain with which their reference peaks at 0.7, and otherwise left as they are"
    )
    parts = [
        f"Sound is compared at {findings['settings']['sample_rate_hz']} Hz; of each file the first {longest_s:.0f} s count"
        + (f"; nothing is aligned in time; {levels}." if findings["kind"] == "pairs" else ", with a peak of 0.7."),
        "f0 and notes of every recording are found by the same tracker; its mistakes count.",
        f"Intervals are percentile bootstrap intervals of the mean ({N_RESAMPLES} resamples); examples that were made from the same "
        "performance are drawn together.",
        f"Best and worst are by {BY_KEY[ranking].name}; the random ones were drawn from the rest (seed {findings['settings']['seed']}).",
        "Roll-off above and below the reference is averaged apart, after Schaffer et al. (ISMIR 2022): noise that was added cannot make up "
        "for brilliance that was lost.",
        f"Made by tonetransfer {_text(findings['versions']['tonetransfer'])}; weights {_text(findings['versions']['weights'])}, "
        f"classifier {_text(findings['versions']['classifier'])}.",
    ]
    low = [row for row in findings["per_example"] if row["highest_hz"] < 20000.0]
    if low:
        highest = min(row["highest_hz"] for row in low)
        what = f"{_count(len(low), 'result')} had a sample rate that holds nothing above {highest / 1000:.3g} kHz"
        parts.append(f"{what}: that counts as lost high frequencies.")
    unequal = [row for row in findings["per_example"] if row.get("length_difference_s", 0.0) > 0.1]
    if unequal:
        parts.append(f"{_count(len(unequal), 'result')} differed in length from the reference by more than 0.1 s; the longer one was cut.")
    listed = "".join(f"<li>{part}</li>" for part in parts)
    left_out = "".join(f"<li>{_text(one)}</li>" for one in findings["left_out"])
    heading = f'<h3 id="left-out">Left out or incomplete: {len(findings["left_out"])}</h3><ul>{left_out}</ul>' if left_out else ""
    return f"<ul>{listed}</ul>{heading}"


def _table(heads: Sequence[str], rows: Sequence[str], name: str) -> str:
    buttons = [f'<button type="button">{_text(one)}</button>' if one else "" for one in heads]
    head = "".join(f'<th scope="col">{button}</th>' for button in buttons)
    table = f'<table class="sortable {name}"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    return f'<div class="scroll" tabindex="0">{table}</div>'


def _cell(value: float, metric: Metric) -> str:
    return f'<td class="number" data-value="{value:.6g}">{_figure(value, metric)}</td>'


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


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _text(value: str) -> str:
    return html.escape(printable(str(value)), quote=True)


def _resource(name: str) -> str:
    return (resources.files("tonetransfer.evaluation.report") / name).read_text(encoding="utf-8")
