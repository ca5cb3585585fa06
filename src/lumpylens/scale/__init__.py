"""Score or simulate more images than one process should hold: shards, receipts and engines.

A shard is the work of one task: a file or folder of images to score, or a range of images to
simulate. A task is finished completely or leaves nothing. When it is finished it writes a receipt,
so that work that was stopped for any reason continues with the shards that have none.
"""

from lumpylens.scale.campaign import Campaign, score_shards
from lumpylens.scale.shards import score_shard
from lumpylens.scale.simulating import SimulationCampaign, simulate_shards

__all__ = ["Campaign", "SimulationCampaign", "score_shard", "score_shards", "simulate_shards"]
