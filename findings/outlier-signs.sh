#!/usr/bin/env bash
# Detectors: decision_function and predict have opposite signs in scikit-learn and PyOD.
# scikit-learn 1.9.1: outliers are negative, and -1. PyOD 3.6.7, whose IForest wraps scikit-learn's:
# "outliers are assigned with higher anomaly scores" (BaseDetector), and 1; normal is 0.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pyod==3.6.7 scikit-learn==1.9.1 numpy==2.4.6

venv/bin/python -I - <<'PROGRAM'
import numpy as np
import pyod
import sklearn
from pyod.models.iforest import IForest
from sklearn.ensemble import IsolationForest

random = np.random.default_rng(0)
normal, outlier = random.normal(size=(500, 5)), np.full((1, 5), 8.0)
print("scikit-learn", sklearn.__version__, "PyOD", pyod.__version__)
print("expected: the same forest with the same methods gives the same answers")
answers = {}
for kind in (IsolationForest, IForest):
    forest = kind(contamination=0.05, random_state=0).fit(normal)
    score, label = forest.decision_function(outlier)[0], forest.predict(outlier)[0]
    answers[kind] = score, label
    print(f"{kind.__name__:15} outlier: decision_function {score:+.3f}, predict {label:+d}")
ours, theirs = answers[IsolationForest], answers[IForest]
assert ours[0] < 0 and ours[1] == -1
assert np.isclose(theirs[0], -ours[0]) and theirs[1] == 1, "the signs are the same now"
PROGRAM
