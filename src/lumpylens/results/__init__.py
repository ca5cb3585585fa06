"""Results of the verbs: score tables, calibration, metrics, rankings, explanations."""
