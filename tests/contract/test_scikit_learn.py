"""Which of scikit-learn's own checks of estimators hold, and why the others do not apply."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils import estimator_checks as checks

from lumpylens.data.images import LensImages
from lumpylens.detectors.pca import PCADetector

pytest.importorskip("sklearn", minversion="1.6", reason="its checks were others before 1.6")

AS_IT_IS = (
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_n_features_in_after_fitting",
    "check_non_transformer_estimators_n_iter",
    "check_parameters_default_constructible",
    "check_valid_tag_types",
)
"""Hold for a detector as it is."""

OF_TABLES = (
    "check_dict_unchanged",
    "check_dtype_object",
    "check_estimators_dtypes",
    "check_estimators_fit_returns_self",
    "check_estimators_overwrite_params",
    "check_estimators_pickle",
    "check_f_contiguous_array_estimator",
    "check_fit_check_is_fitted",
    "check_fit_idempotent",
    "check_methods_sample_order_invariance",
    "check_outliers_fit_predict",
    "check_positive_only_tag_during_fit",
    "check_readonly_memmap_input",
)
"""Give a table of numbers and a label to ignore: hold for the detector of `OfTables`."""

TABLES = "about tables of shape (n, k), and images are of shape (n, H, W)"
OWN_ERRORS = "a mistake is a LumpylensError here, with one line for people, and no ValueError"
EXCLUDED = {
    "check_array_api_input": TABLES,
    "check_classifier_data_not_an_array": TABLES,
    "check_complex_data": TABLES,
    "check_do_not_raise_errors_in_init_or_set_params": "a wrong setting is refused at once, not "
    "after the images were read",
    "check_dont_overwrite_parameters": "what is learned has the plain names of its file",
    "check_estimator_sparse_array": TABLES,
    "check_estimator_sparse_matrix": TABLES,
    "check_estimator_sparse_tag": TABLES,
    "check_estimators_empty_data_messages": OWN_ERRORS,
    "check_estimators_nan_inf": OWN_ERRORS,
    "check_estimators_unfitted": OWN_ERRORS,
    "check_fit1d": TABLES,
    "check_fit2d_1feature": TABLES,
    "check_fit2d_1sample": TABLES,
    "check_fit2d_predict1d": TABLES,
    "check_fit_score_takes_y": "a label is refused, not ignored; score takes images alone",
    "check_methods_subset_invariance": "scores agree to the rounding of float32 whatever the "
    "batch, so the sign of the image that lies on the threshold may not",
    "check_n_features_in": TABLES,
    "check_no_attributes_set_in_init": "what is learned is declared, None before",
    "check_outliers_train": OWN_ERRORS,
    "check_pipeline_consistency": "asks score for one number; see the test of a pipeline below",
    "check_set_params": OWN_ERRORS,
}


def as_images(table) -> np.ndarray:
    """Images of 9x9 pixels that repeat the columns of a table, on a ramp; images as they are."""
    values = np.asarray(table)
    if values.ndim != 2:
        return values
    repeated = np.tile(values.astype(float), (1, -(-81 // values.shape[1])))[:, :81]
    return (repeated + np.linspace(0, 1, 81)).reshape(-1, 9, 9)


class OfTables(PCADetector):
    """Takes tables as scikit-learn does, and ignores a label as it does."""

    def fit(self, X, y=None):
        return super().fit(as_images(X))

    def score(self, X):
        return super().score(X if isinstance(X, LensImages) else as_images(X))

    def predict(self, X):
        return super().predict(as_images(X))

    def fit_predict(self, X, y=None):
        return self.fit(X).predict(X)


@pytest.mark.parametrize("name", AS_IT_IS)
def test_a_check_holds(name):
    getattr(checks, name)("PCADetector", PCADetector(max_components=3))


@pytest.mark.filterwarnings("ignore:Estimator OfTables does not inherit")
@pytest.mark.parametrize("name", OF_TABLES)
def test_a_check_of_tables_holds(name):
    getattr(checks, name)("OfTables", OfTables(max_components=3))


def test_every_check_is_accounted_for(monkeypatch):
    """That scikit-learn runs on an outlier detector of tables; on one of images it runs few."""
    detector = OfTables()
    tags = detector.__sklearn_tags__()
    assert (tags.input_tags.two_d_array, tags.input_tags.three_d_array) == (False, True)
    tags.input_tags.two_d_array = True
    monkeypatch.setattr(OfTables, "__sklearn_tags__", lambda self: tags)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        listed = checks.estimator_checks_generator(detector)
        known = {getattr(check, "func", check).__name__ for _, check in listed}
    assert known - {*AS_IT_IS, *OF_TABLES, *EXCLUDED} == set()


def test_check_estimator_says_that_it_is_for_tables():
    from sklearn.exceptions import SkipTestWarning

    with pytest.warns(SkipTestWarning, match="which requires input"):
        checks.check_estimator(PCADetector())


def test_a_pipeline_takes_a_detector():
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    images = np.random.default_rng(0).normal(size=(40, 9, 9))
    made = clone(make_pipeline(FunctionTransformer(np.arctan), PCADetector(max_components=3)))
    alone = PCADetector(max_components=3).fit(np.arctan(images))
    np.testing.assert_array_equal(
        made.fit(images).decision_function(images), alone.decision_function(np.arctan(images))
    )
