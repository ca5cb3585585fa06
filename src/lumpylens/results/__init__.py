"""What the verbs give back: score tables, calibration, metrics, rankings, explanations."""
