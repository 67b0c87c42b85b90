"""Results of analyses -> what a page tells of them: one sentence on what is shown, a table, the paper's findings.

Numbers come as text with their intervals; whether a finding of arXiv 2510.12668 (or of the paper named) holds is
decided by the interval (`paramrag.evaluate.findings`). Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..evaluate.findings import Finding
from ..evaluate.statistics import Estimate, paired_difference
from .attention import BASE, INJECTED, RETRIEVED, AttentionStudy
from .collapse import CollapseReport
from .curves import Curve, last_quarter
from .explain import Explanation
from .knowledge import KnowledgeStudy
from .layers import LayerStudy
from .override import OverrideStudy
from .similarity import SimilarityStudy

OVERLAP = 0.8
"""AUROC below which two densities are said to overlap heavily: less than 1.2 standard deviations apart (normal)."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a page says of one analysis, beside its figure."""

    title: str
    """Heading."""
    shows: str
    """What the figure shows, and how to read it."""
    n: int
    """What the means are over."""
    over: str
    """What `n` counts."""
    left_out: int
    """Questions that could not be used."""
    columns: tuple[str, ...]
    """Headings of the table."""
    rows: tuple[tuple[str, ...], ...]
    """Its cells as text; means with their 95 % intervals."""
    findings: tuple[Finding, ...] = ()
    """What the literature says, and what was found."""

    def to_json(self) -> dict[str, Any]:
        """Returns everything as JSON values."""
        return {**asdict(self), "findings": [finding.to_json() for finding in self.findings]}


def interval(estimate: Estimate, digits: int = 4) -> str:
    """Returns a mean with its interval: `0.1234 [0.1000, 0.1500]`."""
    return f"{estimate.mean:.{digits}f} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


def percents(estimate: Estimate) -> str:
    """Returns a share with its interval in percent."""
    return interval(Estimate(100 * estimate.mean, 100 * estimate.low, 100 * estimate.high, estimate.n), 1)


def tell_knowledge(study: KnowledgeStudy) -> Told:
    """Tells of parametric knowledge by layer."""
    deep = last_quarter(next(iter(study.pks.values())).values.shape[1])
    place = f"layers {deep[0]} to {deep[-1]}"
    groups: dict[str, Mapping[str, Curve]] = {
        "PKS": study.pks,
        "PKS, difference": study.differences(),
        "changed at equal input": study.changed,
        "ReDeEP's code": study.redeep_compat,
        "external context score": study.ecs,
    }
    rows = tuple(
        (group, mode, interval(curve.mean()), interval(curve.mean(deep)))
        for group, curves in groups.items()
        for mode, curve in curves.items()
    )
    said = {"own": "each mode's own response", "gold": "the gold answer in all modes"}.get(
        study.response, f"the response of {study.response} in all modes"
    )
    beside = {"p-rag - vanilla": "without text", "pt-rag - t-rag": "beside the text"}
    findings = tuple(
        Finding(
            f"Injection raises parametric knowledge in the deep layers, {beside[pair]}",
            f"PKS of {pair.replace(' - ', ' less ')} on {said}, mean of {place}",
            curve.mean(deep),
            "nats",
        )
        for pair, curve in study.differences().items()
    )
    return Told(
        f"Parametric knowledge by layer: {said}",
        "How much each feed-forward block changes the predicted token (PKS), what the injection adds to that, and "
        "how far it moves each layer's prediction at equal input."
        + (
            " Modes say different words here, so a difference may be one of the words: the next figure forces the same."
            if study.response == "own"
            else " All modes are run over the same words, so what differs is the mechanism."
        ),
        study.n,
        "questions",
        study.left_out,
        ("nats (score: cosine)", "mode", "all layers", place),
        rows,
        findings,
    )


def tell_similarity(study: SimilarityStudy) -> Told:
    """Tells of the likeness of adapters."""
    flat = "paper_compat down_proj" if "down_proj" in study.modules else f"paper_compat {next(iter(study.modules))}"
    rows = [
        (
            {"energy": "whole updates"}.get(name, name),
            *(interval(estimate, 3) for estimate in (found.relevant, found.irrelevant, found.gap, found.auroc)),
            f"{found.cohens_d.mean:.2f}",
            f"{found.relevant_pairs} / {found.irrelevant_pairs}",
        )
        for name, found in study.separations.items()
    ]
    rows += [
        (f"control: {control.name}", f"{control.values.mean():.3f}", "", "", "", "", f"{len(control.values)}")
        for control in study.controls
    ]
    area = study.separations[flat].auroc
    overlap = Estimate(OVERLAP - area.mean, OVERLAP - area.high, OVERLAP - area.low, area.n)
    alike = "Adapters of one document are more alike than those of two"
    return Told(
        "Similarity of adapters",
        "Densities of cosines between adapters of one document and of two: of whole updates, of flattened factors as "
        "published (which a shared start makes alike), and how well each layer tells documents apart.",
        len(set(study.documents)),
        "documents",
        0,
        ("cosine of", "one document", "two documents", "gap", "AUROC", "Cohen's d", "pairs"),
        tuple(rows),
        (
            Finding(
                f"{alike}, in flattened factors", f"Gap of mean cosines, {flat}", study.separations[flat].gap,
                over="documents",
            ),
            Finding(
                f"{alike}, in whole updates", "Gap of mean cosines, whole updates", study.separations["energy"].gap,
                over="documents",
            ),
            Finding(
                "The densities of flattened factors overlap heavily", f"{OVERLAP} less AUROC, {flat}", overlap,
                over="documents",
            ),
        ),
    )  # fmt: skip


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def tell_collapse(report: CollapseReport) -> Told:
    """Tells whether adapters are all the same."""
    rows = [
        ("mean cosine of all pairs", f"{report.mean_cosine:.3f}"),
        ("effective rank", f"{report.effective_rank:.1f} of {report.n}"),
        ("distance from the mean, of an adapter's own size", f"{report.distance_from_mean.mean():.3f}"),
        ("AUROC, one document against two", _share(report.auroc)),
        ("the same of updates less their mean", _share(report.auroc_from_mean)),
    ]
    findings: tuple[Finding, ...] = ()
    if report.swap:
        rows += [
            ("HasAnswer with the own adapter, %", percents(report.swap.own)),
            ("HasAnswer with another document's, %", percents(report.swap.swapped)),
        ]
        findings = (
            Finding(
                "An adapter holds its document: another document's in its place costs answers",
                "HasAnswer with the own adapter less that with another document's",
                report.swap.loss,
                "points",
            ),
        )
    rows.append(("alarms", "; ".join(report.alarms) or "none"))
    return Told(
        "Collapse",
        "Whether all adapters are one and the same: energy by direction, the cosines of all pairs, and the swap test, "
        "which answers with another document's adapter.",
        report.n,
        "adapters",
        report.swap.left_out if report.swap else 0,
        ("measure", "value"),
        tuple(rows),
        findings,
    )


def tell_layers(study: LayerStudy) -> Told:
    """Tells which part of the injection carries its effect."""
    names = list(study.parts)
    rows = tuple(
        (name, percents(part.has_answer), interval(part.log_prob, 2), interval(part.gain, 2), interval(part.pks.mean()))
        for name, part in study.parts.items()
    )
    unit = "nats per token"
    findings = [
        Finding(
            "The injection makes the gold answer likelier",
            f"Log-probability of the gold answer, {names[1]} less {names[0]}",
            study.parts[names[1]].gain,
            unit,
        )
    ]
    bands = [name for name in names if name.startswith("layer")]
    if len(bands) > 1:
        deepest, others = bands[-1], bands[:-1]
        findings += [
            Finding(
                "Injection acts through the deep feed-forward layers",
                f"Gain of {deepest} alone less that of {band} alone",
                study.difference(deepest, band),
                unit,
            )
            for band in others
        ]
    return Told(
        "Layers and modules, by intervention",
        "What is left of the effect when only one band of layers, or one module, of the injection is let in. Bands "
        "without adapters under this recipe are not listed.",
        study.n,
        "questions",
        study.left_out,
        ("injected", "HasAnswer, %", "log-probability", "gain", "PKS on the gold answer"),
        rows,
        tuple(findings),
    )


def tell_attention(study: AttentionStudy) -> Told:
    """Tells where the model looks."""
    rows = tuple(
        (
            order,
            name,
            *(interval(estimate, 3) for estimate in (gaze.gold_mass.mean(), gaze.gold_share.mean(), gaze.log_prob)),
            percents(gaze.has_answer),
        )
        for order, found in study.orders.items()
        for name, gaze in found.items()
    )
    findings: list[Finding] = []
    if INJECTED in study.orders[RETRIEVED]:
        moved = study.moved()
        alive = [layer for layer in range(moved.values.shape[1]) if abs(moved.values[:, layer]).max() > 1e-6]
        findings.append(
            Finding(
                "With text and adapters together, attention turns to the passage that answers",
                "Gold passage's share of attention on passages, injected less base, mean of the layers that can move",
                moved.mean(alive or None),
                "points",
            )
        )
    if "middle" in study.orders:
        findings += [
            Finding(
                f"The passage in the middle is used less than the first (arXiv 2307.03172), {name}",
                "Log-probability of the gold answer, gold passage first less in the middle",
                paired_difference(
                    study.orders["middle"][name].log_probs.tolist(), study.orders["first"][name].log_probs.tolist()
                ),
                "nats per token",
            )
            for name in (BASE, INJECTED)
            if name in study.orders["middle"]
        ]
    return Told(
        "Attention to evidence",
        f"The gold passage's share of the attention that falls on the {study.passages} passages, by layer, without and "
        "with the injection, and both share and answer by the place of that passage in the prompt.",
        study.n,
        "questions",
        study.left_out,
        ("gold passage", "", "of all attention", "of that on passages", "log-probability", "HasAnswer, %"),
        rows,
        tuple(findings),
    )


def tell_override(study: OverrideStudy) -> Told:
    """Tells how scale trades one answer for the other."""
    rows = []
    findings = []
    for mode, found in study.modes.items():
        columns = (found.estimates(name) for name in ("counterfactual", "original", "preferred"))
        for scale, one, other, share in zip(study.scales, *columns, strict=True):
            rows.append((mode, f"{scale:g}", interval(one, 2), interval(other, 2), percents(share)))
        if 0 in study.scales and 1 in study.scales:
            off, on = study.scales.index(0), study.scales.index(1)
            pairs = {
                "Injection turns the model to what its passages say, against what it has learnt": (
                    "Questions where the passages' answer is the likelier, scale 1 less scale 0",
                    paired_difference(found.preferred[:, off].tolist(), found.preferred[:, on].tolist()),
                    "points",
                ),
                "Injection makes the passages' answer likelier": (
                    "Log-probability of the passages' answer, scale 1 less scale 0",
                    paired_difference(found.counterfactual[:, off].tolist(), found.counterfactual[:, on].tolist()),
                    "nats per token",
                ),
            }
            findings += [Finding(f"{claim}, {mode}", *told) for claim, told in pairs.items()]
    return Told(
        "Prior override",
        "Log-probability of the answer that the passages give and of the one they contradict, by scale of the "
        "injection (0: none, 1: as it is), and how often the first is the likelier.",
        study.n,
        "questions",
        study.left_out,
        ("mode", "scale", "passages' answer", "contradicted answer", "first likelier, %"),
        tuple(rows),
        tuple(findings),
    )


def tell_explanation(explanation: Explanation) -> Told:
    """Tells what moved one answer."""
    rows = []
    for effect in explanation.effects:
        source = (
            f"all {effect.kind}s"
            if effect.source is None
            else f"{effect.kind} {effect.source + 1}: {explanation.used[effect.source].hit.passage.title}"
        )
        rows.append((source, f"{effect.total:+.2f}"))
    return Told(
        "Why this answer: an example",
        f"“{explanation.question}” is answered “{explanation.answer}” in {explanation.mode}. What each adapter "
        "and each passage did to the log-probability of every token of that answer, by leaving it out; "
        "one answer, no interval.",
        1,
        "answer",
        0,
        ("source", "effect on the whole answer, nats"),
        tuple(rows),
    )
