"""A study's report as Markdown: a pure function of the analysis document."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
ABSENT = "\N{EN DASH}"

ROLES = {
    "main": "Arms",
    "control": "Controls",
    "ablation": "Ablations",
    "sensitivity": "Sensitivity: key settings 10 % off, half the data",
}


def render_markdown(document: Document) -> str:
    """Return the report."""
    return "\n".join(_lines(document)).rstrip() + "\n"


def render_summary(document: Document) -> str:
    """Return the verdict in one line: study, verdict, every claim with its interval."""
    claims = "; ".join(f"{claim['name']}: {_claimed(claim)} ({claim['verdict']})" for claim in document["claims"])
    return f"{document['study']['name']} at scale {document['scale']}: {document['verdict'].upper()}. {claims}"


def _lines(document: Document) -> Iterator[str]:
    study = document["study"]
    yield f"# Study {study['number']}: {study['title']}"
    yield ""
    yield f"**{document['verdict'].upper()}** at scale `{document['scale']}`: {document['n_finished']} of {document['n_units']} units."
    yield ""
    yield f"- Question: {study['question']}"
    yield f"- Hypothesis: {study['hypothesis']}"
    yield f"- Given up if {study['falsified_if']}."
    yield ""
    yield from _claims(document["claims"])
    yield from _baselines(document["baselines"])
    for role, title in ROLES.items():
        yield from _arms(title, [arm for arm in document["arms"] if arm["role"] == role])
    yield from _sensitivity(document["sensitivity"])
    yield from _latencies(document["arms"])
    yield from _comparisons(document["comparisons"])
    yield from _fits(document["claims"])
    yield from _constraints(document)
    yield from _failures(document["failures"])
    yield from _conditions(document)


def _claims(claims: Sequence[Document]) -> Iterator[str]:
    yield "## What decides"
    yield ""
    yield "| claim | figure | estimate [95 %] | n | holds from | given up below | verdict |"
    yield "|---|---|---|---|---|---|---|"
    for claim in claims:
        bounds = f"{claim['supported_from']:g} | {claim['falsified_below']:g}"
        yield f"| {claim['name']} | {claim['unit'] or ABSENT} | {_claimed(claim)} | {claim['n']} | {bounds} | {claim['verdict']} |"
    yield ""
    for claim in claims:
        chosen = ", ".join(f"{side}: `{arm}`" for side, arm in claim["chosen"].items())
        said = "; ".join(part for part in (chosen, claim["note"]) if part)
        if said:
            yield f"- {claim['name']}: {said}."
    yield ""


def _claimed(claim: Document) -> str:
    return _interval(claim)


def _interval(found: Document | None, *, factor: float = 1.0, digits: int = 4) -> str:
    if found is None or found.get("value") is None:
        return ABSENT
    value = f"{factor * found['value']:.{digits}g}"
    ends = [ABSENT if found.get(end) is None else f"{factor * found[end]:.{digits}g}" for end in ("low", "high")]
    return value if ends == [ABSENT, ABSENT] else f"{value} [{ends[0]}, {ends[1]}]"


def _baselines(baselines: Sequence[Document]) -> Iterator[str]:
    yield "## Baselines"
    yield ""
    yield "| model | data | accuracy, % [95 %] | test samples | parameters | MACs | bytes |"
    yield "|---|---|---|---|---|---|---|"
    for row in baselines:
        counts = f"{row['n_test']} | {row['n_parameters']:,} | {row['macs']:,} | {row['size_bytes']:,}"
        yield f"| {row['model']} | {row['data']} | {_interval(row['accuracy'], factor=100)} | {counts} |"
    yield ""


def _arms(title: str, arms: Sequence[Document]) -> Iterator[str]:
    if not arms:
        return
    yield f"## {title}"
    yield ""
    yield "| arm | model | what differs | n | accuracy, % [95 %] | retention, % | bytes, times fewer | after gzip | MACs | zeros |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for arm in arms:
        differs = ", ".join(_factor(*item) for item in arm["factors"].items()) or arm["family"] or ABSENT
        head = f"| `{arm['name']}` | {arm['model']} | {differs} | {arm['n']}"
        if not arm["n"]:
            yield f"{head} | {' | '.join([ABSENT] * 6)} |"
            continue
        ratios = " | ".join(_times(arm[name]) for name in ("size_ratio", "gzip_ratio", "macs_ratio"))
        kept = f"{100 * arm['retention']['value']:.1f}"
        yield f"{head} | {_interval(arm['accuracy'], factor=100)} | {kept} | {ratios} | {100 * arm['sparsity']:.0f} % |"
    yield ""


def _factor(name: str, value: float | str) -> str:
    return f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"


def _times(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.2f}x"


def _sensitivity(rows: Sequence[Document]) -> Iterator[str]:
    if not rows:
        return
    yield "| arm | against | changed | accuracy changes by | allowed | n |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        kept = "" if row["is_within"] else " **beyond**"
        allowed = f"{100 * row['tolerance']:.0f} %"
        found = f"{100 * row['relative_change']:+.1f} %{kept}"
        yield f"| `{row['arm']}` | `{row['base']}` | {row['changed']} | {found} | {allowed} | {row['n']} |"
    yield ""


def _latencies(arms: Sequence[Document]) -> Iterator[str]:
    boards = sorted({board for arm in arms for board in arm.get("p50_ms", {})})
    if not boards:
        return
    yield "## Median latency, ms"
    yield ""
    marked = [
        board if not board.startswith("simulated-") else f"SIMULATED {board.removeprefix('simulated-')}"
        for board in boards
    ]
    yield f"| arm | {' | '.join(marked)} |"
    yield f"|---|{'---|' * len(boards)}"
    for arm in (item for item in arms if item["n"] and item["role"] != "sensitivity"):
        cells = [
            _interval(arm["p50_ms"].get(board))
            if arm["p50_ms"].get(board, {}).get("value") is not None
            else arm["no_timing"].get(board, ABSENT)
            for board in boards
        ]
        yield f"| `{arm['name']}` | {' | '.join(str(cell) for cell in cells)} |"
    yield ""


def _comparisons(rows: Sequence[Document]) -> Iterator[str]:
    if not rows:
        return
    yield "## Paired tests"
    yield ""
    yield "Differences in points of accuracy, seed by seed; p of the t test corrected by Holm within a family."
    yield ""
    yield "| family | a | b | a - b [95 %] | d_z [95 %] | p (t) | p (Holm) | p (Wilcoxon) | detectable at 80 % power | n |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        difference = _interval(row.get("difference"), factor=100, digits=3)
        p_values = " | ".join(_p(row.get(name)) for name in ("p_t", "p_holm", "p_wilcoxon"))
        detectable = ABSENT if row.get("detectable") is None else f"{100 * row['detectable']:.2f}"
        yield (
            f"| {row['family']} | `{row['a']}` | `{row['b']}` | {difference} | {_interval(row.get('d_z'), digits=3)} "
            f"| {p_values} | {detectable} | {row['n']} |"
        )
    yield ""


def _p(value: float | None) -> str:
    if value is None:
        return ABSENT
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _fits(claims: Sequence[Document]) -> Iterator[str]:
    for claim in (item for item in claims if item["kind"] == "fit" and item["details"]):
        details = claim["details"]
        form = "a x^b" if details["law"] == "power" else "a e^(b x)"
        low, high = details["exponent_interval"]
        yield f"## Fit: {claim['name']}"
        yield ""
        yield (
            f"y = {form}: a = {details['factor']:.4g}, b = {details['exponent']:.4g} [{low:.4g}, {high:.4g}]; x: {claim['x']}, "
            f"y: {claim['y']}. AIC on the fitted points: "
            + ", ".join(f"{law} {value:.1f}" for law, value in details["aic"].items())
            + "."
        )
        yield ""
        yield "| point | x | y | used to |"
        yield "|---|---|---|---|"
        for kind, used in (("fitted", "fit"), ("held_out", "judge")):
            for name, x, y in details[kind]:
                yield f"| {name} | {x:.4g} | {y:.4g} | {used} |"
        yield ""


def _constraints(document: Document) -> Iterator[str]:
    if not document["picks"]:
        return
    yield "## What each device class leaves"
    yield ""
    for item in document["constraints"]:
        yield f"- {item['name']}: at most {item['size_bytes']:,} bytes and {item['p50_ms']:g} ms on {item['board']}."
    yield ""
    yield "| class | model | accuracy first | efficiency first |"
    yield "|---|---|---|---|"
    for pick in document["picks"]:
        first, second = (f"`{pick[rule]}`" if pick[rule] else ABSENT for rule in ("accuracy_first", "efficiency_first"))
        yield f"| {pick['constraint']} | {pick['model']} | {first} | {second} |"
    yield ""


def _failures(failures: Sequence[Document]) -> Iterator[str]:
    if not failures:
        return
    yield "## Units that failed"
    yield ""
    for row in failures:
        yield f"- `{row['arm']}`, seed {row['seed']}: {row['code']}: {row['message']}"
    yield ""


def _conditions(document: Document) -> Iterator[str]:
    study, conditions = document["study"], document["conditions"]
    yield "## How it was done"
    yield ""
    for line in (*study["analysis"], *document["differences"]):
        yield f"- {line}"
    for line in study["left_out"]:
        yield f"- Left out: {line}"
    yield ""
    yield "## Repeat"
    yield ""
    yield f"`edgefleet study run {study['name']} --scale {document['scale']}`, or from the lock file: `edgefleet study rerun lock.json`."
    yield ""
    yield f"Declaration {document['declaration_sha256']}. {document['cost_s']:,.0f} s of work in all."
    if conditions:
        versions = ", ".join(f"{name} {version}" for name, version in conditions.get("versions", {}).items())
        threads = conditions.get("threads")
        yield ""
        yield f"Threads {threads}, device {conditions.get('device')}; {versions}."
    yield ""
