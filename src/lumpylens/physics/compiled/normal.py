"""Normal equations of fits of many lenses, compiled for the processor."""

from __future__ import annotations

import numpy as np

from lumpylens.physics.compiled.elementary import F, Image, compiled

__all__ = ["normal_equations"]


def normal_equations(tangents: Image, score: Image, information: Image) -> tuple[Image, Image]:
    """Gradients J s and information J W J', each image by itself.

    Parameters
    ----------
    tangents : ndarray of float32, shape (n, k, a)
    score, information : ndarray of float32, shape (n, a)
        Derivative of the log likelihood by each prediction, and the diagonal of W.

    Returns
    -------
    gradient : ndarray of float32, shape (n, k)
    matrix : ndarray of float32, shape (n, k, k)
    """
    count, order = tangents.shape[:2]
    gradient = np.empty((count, order), np.float32)
    matrix = np.empty((count, order, order), np.float32)
    _normal_equations(gradient, matrix, tangents, score, information)
    return gradient, matrix


@compiled
def _normal_equations(gradient, matrix, tangents, score, information):  # type: ignore[no-untyped-def]
    weighted = np.empty(tangents.shape[2], np.float32)
    for image in range(tangents.shape[0]):
        for i in range(tangents.shape[1]):
            row = tangents[image, i]
            gradient[image, i] = _product(row, score[image])
            for a in range(weighted.shape[0]):
                weighted[a] = row[a] * information[image, a]
            for j in range(i + 1):
                matrix[image, i, j] = _product(weighted, tangents[image, j])
                matrix[image, j, i] = matrix[image, i, j]


@compiled
def _product(first, second):  # type: ignore[no-untyped-def]
    total = F(0)
    for a in range(first.shape[0]):
        total += first[a] * second[a]
    return total
