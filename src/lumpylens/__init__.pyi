from .data.fetch import fetch as fetch
from .data.images import LensImages as LensImages
from .detectors import Detector as Detector
from .detectors import create as create
from .detectors import list_detectors as list_detectors
from .errors import DataError as DataError
from .errors import LumpylensError as LumpylensError
from .errors import ModelError as ModelError
from .lenses.catalogue import LensCatalogue as LensCatalogue
from .results.score_table import ScoreTable as ScoreTable
from .scale import score_shards as score_shards
from .scale import simulate_shards as simulate_shards
from .simulation import simulate as simulate
from .store.folder import load_model as load_model
from .store.folder import save_model as save_model
from .store.layout import list_models as list_models
from .store.trained import TrainedModel as TrainedModel
from .verbs.benchmark.compare import benchmark as benchmark
from .verbs.demo import demo as demo
from .verbs.evaluate import evaluate as evaluate
from .verbs.explain import explain as explain
from .verbs.export import export as export
from .verbs.fit import fit as fit
from .verbs.score import score as score
from .verbs.train import train as train

__version__: str
