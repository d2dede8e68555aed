"""
Receptive fields and lateral fields of decorrelated images
==========================================================

What the decorrelation of §3.2 in Ahmad N (2024), "Correlations are ruining your gradient descent", arXiv:2407.10780,
makes of natural images; compare Atick JJ, Redlich AN (1992), "What does the retina know about natural scenes?", Neural
Computation 4:196–210.

Circuits learn from patches of two photographs, one pixel to a unit. Row i of M is the receptive field of unit i, column
i of R what it sends to the others; positive weights of R inhibit. Fields are divided by their weight at the own pixel;
units whose surround the patch cuts off are left out. M* is the closed form, from the covariance of all patches.

Finding: every unit gets a centre and an antagonistic surround, nearly all of it in the four next pixels, although the
lateral inhibition that brings this about spans the whole patch.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import neurodecorr as nd

NAME = "receptive_fields"
SIZE, SIZE_FULL = 11, 16  # pixels
SAMPLES, SAMPLES_FULL = 30_000, 100_000
RATE = 1e-3
SEEDS = 3
BORDER = 3  # pixels: units nearer to the edge are left out
FARTHEST = 6.5  # pixels, of the radial profiles
LOOKS = {"closed form": ("#999999", "-", 6), "congruent": ("#009E73", "--", 2), "implicit": ("#D55E00", ":", 1.4)}


def main(full: bool, out: Path) -> None:
    size, samples = (SIZE_FULL, SAMPLES_FULL) if full else (SIZE, SAMPLES)
    sigma = nd.data.patches.natural_patch_covariance(size)
    closed = nd.plasticity.decorrelating_matrix(sigma)
    matrices, laterals = {"closed form": [closed]}, {"closed form": [np.linalg.inv(closed)]}
    for seed in range(SEEDS):
        patches = nd.data.natural_patches(size, samples, seed).inputs
        for rule in ("congruent", "implicit"):
            learnt = nd.RecurrentDecorrelator(RATE, rule=rule).fit(patches)
            matrices.setdefault(rule, []).append(learnt.M_)
            laterals.setdefault(rule, []).append(learnt.R_)

    place = np.stack(np.divmod(np.arange(size**2), size), axis=1)
    inner = ((place >= BORDER) & (place < size - BORDER)).all(axis=1)
    away = np.linalg.norm(place[inner, None] - place, axis=2).round(9)  # of each weight from its unit, pixels
    receptive = {name: [M[inner] / np.diag(M)[inner, None] for M in found] for name, found in matrices.items()}
    lateral = {name: [R.T[inner] / np.diag(R)[inner, None] for R in found] for name, found in laterals.items()}
    with plt.rc_context(nd.plots.STYLE):
        figure = draw(receptive, lateral, size, away)
    nd.plots.save(figure, out, NAME)
    config = {"size": size, "samples": samples, "rate": RATE, "seeds": SEEDS, "border": BORDER}
    arrays = {"M": matrices["congruent"][0], "R": laterals["congruent"][0], "closed": closed}
    nd.io.Result(arrays, nd.io.provenance(config, 0)).save(out / f"{NAME}.npz")

    print(f"natural {size}×{size} patches, κ(Σ) = {np.linalg.cond(sigma):.2g}; {samples} single samples;", end=" ")
    print(f"decaying rate from {RATE:g}; seeds 0–{SEEDS - 1}, {inner.sum()} inner units")
    report(matrices, receptive, lateral, sigma, away)


def report(matrices, receptive, lateral, sigma, away):
    for name in matrices:
        correlation = [nd.measures.rms_correlation(covariance=M @ sigma @ M.T) for M in matrices[name]]
        before = nd.measures.rms_correlation(covariance=sigma)
        print(f"{name}: rms correlation {over(correlation, 4)}, before {before:.2f}")
        for what, fields in (("row of M", receptive[name]), ("column of R", lateral[name])):
            near, far = ([field[ring].mean() for field in fields] for ring in (away == 1, (away >= 4) & (away <= 6)))
            print(f"  {what:12} of the centre: {over(near, 3)} at 1 pixel, {over(far, 3)} at 4–6 pixels")
        share = [100 * opposed(field, away).mean() for field in receptive[name]]
        print(f"  centre strongest and all four next pixels opposed: {over(share, 1)} % of units")


def opposed(fields, away):
    next_pixels = np.where(away == 1, fields, -1)
    return (np.abs(fields).max(axis=1) <= 1) & (next_pixels < 0).all(axis=1)


def over(values, digits):
    """Return mean and range over seeds as text."""
    text = f"{np.mean(values):.{digits}f}"
    return text if len(values) == 1 else text + f" ({min(values):.{digits}f} to {max(values):.{digits}f})"


def draw(receptive, lateral, size, away):
    figure, axes = plt.subplots(2, 4, figsize=(10, 5), width_ratios=(1, 1, 1, 1.7))
    distance = np.unique(away[away < FARTHEST])
    middle = int(away.max(axis=1).argmin())
    rows = ((receptive, 0.3, "M", "row of M / centre"), (lateral, 1, "R", "column of R / centre"))
    for panels, (fields, most, letter, label) in zip(axes, rows, strict=True):
        for panel, (name, found) in zip(panels, fields.items(), strict=False):
            image = panel.imshow(found[0][middle].reshape(size, size), cmap="RdBu_r", vmin=-most, vmax=most)
            panel.set_title(f"{letter}, {name}")
            panel.set_axis_off()
            colour, line, width = LOOKS[name]
            for seed, field in enumerate(found):
                profile = [field[away == d].mean() for d in distance]
                panels[3].plot(distance, profile, line, color=colour, linewidth=width, label=None if seed else name)
        figure.colorbar(image, ax=list(panels[:3]), shrink=0.7, extend="max" if most < 1 else "neither")
        panels[3].axhline(0, color="#767676", linewidth=0.8)
        panels[3].set(xlabel="distance from the own pixel (pixels)", ylabel=label)
    axes[0, 3].legend()
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Rows of M and columns of R learnt from natural images.")
    parser.add_argument("--full", action="store_true", help=f"{SIZE_FULL}×{SIZE_FULL} patches, {SAMPLES_FULL} samples")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for figures and numbers")
    main(**vars(parser.parse_args()))
