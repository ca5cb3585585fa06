"""How well the fraction of mass in substructure is inferred: calibration, widths, limits.

``python benchmarks/population.py --out results`` writes ``population.json``,
``population.md`` and ``population.png``. Simulated lenses are kept in the cache, and a call that
was stopped goes on. ``--share 0.1`` takes a tenth of all lenses, for a quick look.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import binom, kstest

from lumpylens.files.json_files import write_json
from lumpylens.files.versions import installed_versions
from lumpylens.fraction.comparing import like_simulated
from lumpylens.fraction.likelihood import SetLikelihood
from lumpylens.fraction.posterior import LEVELS
from lumpylens.fraction.summaries import summaries_from
from lumpylens.report.fraction_figure import write_figure
from lumpylens.report.style import LIGHT
from lumpylens.scale.summarising import FRACTION_STREAM, drawn_fractions, simulate_and_look
from lumpylens.simulation.images import lumps_of
from lumpylens.simulation.presets import population as population_of
from lumpylens.store.folder import model_digest

LARGEST, SUBSTRUCTURE = 0.1, "points-compensated"
PER_GROUP, GROUPS_TOGETHER = 5, (1, 4, 20)
SIZES = (10, 30, 100, 300, 1000)


@dataclass(frozen=True)
class Survey:
    """Which lenses are simulated for a population of lenses."""

    model: str
    learned: tuple[int, int]
    fixed: dict[float, tuple[int, int]]
    groups: tuple[int, int] | None = None


SURVEYS = {
    "slc": Survey("slc-physics", (11, 12_000), {0.0: (21, 4000), 0.01: (22, 2000)}, (31, 1000)),
    "euclid": Survey("euclid-physics", (41, 4000), {0.0: (51, 500), 0.01: (52, 1000)}),
}
"""Of each population: the model; seed and number of the lenses that are learned from, of those with
a fixed fraction, and of groups of lenses with a uniform fraction each."""


def looked_at(preset, model, seed, fractions, cache, workers):
    """Summaries and fractions of those simulated lenses that count, and their positions."""
    chosen = population_of(preset)
    seen = simulate_and_look(
        chosen,
        lumps_of(chosen, SUBSTRUCTURE),
        fractions,
        model=model,
        model_digest=model_digest(model),
        folder=cache / f"{preset}-{seed}",
        seed=seed,
        workers=workers,
    )
    use = seen.trusted
    numbers = {name: column[use] for name, column in seen.numbers.items()}
    return summaries_from(numbers), seen.fraction[use], np.flatnonzero(use)


def half_width(posterior, level=0.68):
    low, high = posterior.interval(level)
    return (high - low) / 2


def calibration(likelihood, lenses, fraction, group, together):
    """Coverage and ranks of sets of lenses whose fractions are alike.

    A set of several groups, neighbours in fraction, has the mean of theirs; such sets overlap.
    """
    curves = likelihood.curves(lenses)
    order = np.argsort([fraction[group == g][0] for g in np.unique(group)], kind="stable")
    members = [np.flatnonzero(group == g) for g in np.unique(group)[order]]
    found = []
    for first in range(len(members) - together + 1):
        rows = np.concatenate(members[first : first + together])
        posterior, truth = likelihood.posterior(curves[rows]), fraction[rows].mean()
        found.append((posterior.below(truth), *inside(posterior, truth)))
    ranks, in_68, in_95 = np.array(found).T
    independent = len(members) // together
    row = {
        "lenses_per_set": together * PER_GROUP,
        "sets": len(found),
        "independent_sets": independent,
        "coverage_68": in_68.mean(),
        "coverage_95": in_95.mean(),
        "expected_68": binom_interval(0.68, independent),
        "expected_95": binom_interval(0.95, independent),
        "ks_p_value": kstest(ranks, "uniform").pvalue if together == 1 else None,
        "ranks": np.histogram(ranks, 20, (0, 1))[0],
    }
    return row


def inside(posterior, truth):
    """Whether the intervals of 68 and of 95 % hold the truth."""
    return [low <= truth <= high for low, high in map(posterior.interval, LEVELS)]


def binom_interval(probability, count):
    """Shares that 95 % of such experiments find, if the probability is right."""
    return [bound / count for bound in binom.interval(0.95, count, probability)]


def widths(likelihood, lenses, truth, seed):
    """Posteriors of disjoint sets of each size, at one true fraction."""
    curves = likelihood.curves(lenses)
    rows = []
    for size in SIZES:
        if size > len(lenses):
            continue
        order = np.random.default_rng((seed, size)).permutation(len(lenses))
        parts = [order[k : k + size] for k in range(0, len(order) - size + 1, size)][:100]
        found = [likelihood.posterior(curves[part]) for part in parts]
        means = np.array([posterior.mean for posterior in found])
        in_68, in_95 = np.sum([inside(posterior, truth) for posterior in found], axis=0)
        rows.append(
            {
                "truth": truth,
                "lenses": size,
                "sets": len(found),
                "half_width_68": np.mean([half_width(posterior) for posterior in found]),
                "mean": means.mean(),
                "mean_error": means.std(ddof=1) / np.sqrt(len(found)) if len(found) > 1 else None,
                "in_68": [int(in_68), len(found)],
                "in_95": [int(in_95), len(found)],
                "upper_limit_95": np.mean([posterior.quantile(0.95) for posterior in found]),
            }
        )
    return rows


def likeness_of_likes(likelihood, lenses, size=100):
    """p-values of simulated sets, which should be uniform."""
    p_values = []
    for number, first in enumerate(range(0, len(lenses) - size + 1, size)):
        part = lenses[first : first + size]
        best = likelihood.posterior(likelihood.curves(part)).most_probable
        p_values.append(like_simulated(likelihood, part, best, seed=number).p_value)
    return {
        "lenses_per_set": size,
        "sets": len(p_values),
        "below_0.01": int(np.sum(np.array(p_values) < 0.01)),
        "mean": np.mean(p_values),
    }


def measure(name, survey, cache, share, workers):
    """All numbers of one population."""

    def count(number):
        return max(20, round(share * number))

    seed, number = survey.learned
    number = max(1000, count(number))
    lenses, fraction, _ = looked_at(
        name, survey.model, seed, drawn_fractions(number, LARGEST, seed), cache, workers
    )
    likelihood = SetLikelihood.learn(lenses, fraction, LARGEST, seed=0)
    found = {"simulated": number, "used": len(lenses), "model": survey.model}
    found["drift_over_its_error"] = likelihood.drift.mean / np.sqrt(
        np.diag(likelihood.drift.covariance)
    )
    found["widths"], found["likeness"] = [], {}
    for truth, (own_seed, many) in survey.fixed.items():
        some, *_ = looked_at(
            name, survey.model, own_seed, np.full(count(many), truth), cache, workers
        )
        found["widths"] += widths(likelihood, some, truth, own_seed)
        found["likeness"][f"{truth:g}"] = likeness_of_likes(likelihood, some)
    if survey.groups is not None:
        own_seed, groups = survey.groups
        numbers = range(count(groups))
        truths = [
            LARGEST * np.random.default_rng((own_seed, k, FRACTION_STREAM)).random()
            for k in numbers
        ]
        some, true, positions = looked_at(
            name, survey.model, own_seed, np.repeat(truths, PER_GROUP), cache, workers
        )
        found["calibration"] = [
            calibration(likelihood, some, true, positions // PER_GROUP, together)
            for together in GROUPS_TOGETHER
            if together < len(truths)
        ]
    return found


def page(result):
    """The numbers as tables."""
    lines = [
        "# How well the mass in substructure is inferred",
        "",
        f"Substructure: `{result['substructure']}`; prior of the fraction: uniform up to "
        f"{result['largest']:.0%}. The mass of the smooth lens is free throughout. No lens that is "
        "counted here was learned from.",
    ]
    for name, found in result["surveys"].items():
        lines += [
            "",
            f"## {name}",
            "",
            f"Learned from {found['used']} simulated lenses, as `{found['model']}` sees them.",
            "",
            "| true fraction | lenses in a set | disjoint sets | mean | half-width, 68 % "
            "| 95 % limit | truth inside 68 % | inside 95 % |",
            "|---:|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for row in found["widths"]:
            error = "" if row["mean_error"] is None else f" ± {100 * row['mean_error']:.3f}"
            lines.append(
                f"| {row['truth']:.1%} | {row['lenses']} | {row['sets']} | "
                f"{100 * row['mean']:.3f}{error} % | {100 * row['half_width_68']:.3f} % | "
                f"{100 * row['upper_limit_95']:.2f} % | {row['in_68'][0]} of {row['in_68'][1]} | "
                f"{row['in_95'][0]} of {row['in_95'][1]} |"
            )
        for truth, test in found["likeness"].items():
            lines += [
                "",
                f"Of {test['sets']} sets of {test['lenses_per_set']} lenses with "
                f"{float(truth):.0%}, {test['below_0.01']} are taken to be unlike the simulated "
                f"ones; the mean p-value is {test['mean']:.2f}.",
            ]
        if "calibration" in found:
            lines += [
                "",
                "Sets with fractions drawn from the prior. In brackets: what 95 % of experiments "
                "with as many independent sets find if the posterior is right.",
                "",
                "| lenses in a set | sets | independent | truth inside 68 % | inside 95 % | "
                "ranks uniform: p |",
                "|---:|---:|---:|---:|---:|---:|",
            ]
            for row in found["calibration"]:
                p_value = "" if row["ks_p_value"] is None else f"{row['ks_p_value']:.2f}"
                shares = " | ".join(
                    f"{row[f'coverage_{level}']:.3f} ({row[f'expected_{level}'][0]:.3f} to "
                    f"{row[f'expected_{level}'][1]:.3f})"
                    for level in (68, 95)
                )
                lines.append(
                    f"| {row['lenses_per_set']} | {row['sets']} | {row['independent_sets']} | "
                    f"{shares} | {p_value} |"
                )
    return "\n".join([*lines, "", f"Made by `{result['command']}`."]) + "\n"


def drawn(result):
    """Half-widths against the number of lenses, and ranks of the truth in simulated sets."""
    figure = Figure(figsize=(10, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    rows = [row for found in result["surveys"].values() for row in found["widths"]]
    truth = min(row["truth"] for row in rows if row["truth"] > 0)
    for (name, found), colour in zip(
        result["surveys"].items(), (LIGHT.normal, LIGHT.anomalous, LIGHT.accent), strict=False
    ):
        rows = [row for row in found["widths"] if row["truth"] == truth]
        left.plot(
            [row["lenses"] for row in rows],
            [100 * row["half_width_68"] / truth for row in rows],
            marker="o",
            color=colour,
            label=name,
        )
        if "calibration" in found:
            row = found["calibration"][0]
            counts = np.array(row["ranks"])
            edges = np.linspace(0, 1, len(counts) + 1)
            right.stairs(counts, edges, color=colour, fill=True, alpha=0.4)
            low, high = binom.interval(0.95, counts.sum(), 1 / len(counts))
            right.axhspan(low, high, color=LIGHT.quiet, alpha=0.2, label="95 % if it is right")
            right.set_title(f"{row['sets']} sets of {row['lenses_per_set']} lenses of {name}")
    left.axhline(20, color=LIGHT.muted, linestyle=":")
    left.set(xscale="log", yscale="log", xlabel="lenses in a set")
    left.set_ylabel(f"half-width (68 %) over the true fraction of {100 * truth:g} %, %")
    left.legend(frameon=False)
    right.set(xlabel="posterior probability below the truth", ylabel="sets", ylim=(0, None))
    right.legend(frameon=False, loc="lower right")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--cache", type=Path, help="by default in --out")
    parser.add_argument("--surveys", default=",".join(SURVEYS))
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    names = options.surveys.split(",")
    cache = options.cache or options.out / "simulated"
    result = {
        "command": shlex.join(["python", "benchmarks/population.py", *sys.argv[1:]]),
        "versions": installed_versions(),
        "substructure": SUBSTRUCTURE,
        "largest": LARGEST,
        "surveys": {
            name: measure(name, SURVEYS[name], cache, options.share, options.workers)
            for name in names
        },
    }
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(result, options.out / "population.json")
    (options.out / "population.md").write_text(page(result), encoding="utf-8")
    write_figure(drawn(result), options.out / "population.png")


if __name__ == "__main__":
    main()
