"""Shards, receipts and engines: work on more images than one process should hold.

A shard is what one worker does in one go: a file or folder of images to score, or a range of
images to simulate. Each is done whole or not at all and leaves a receipt, so that work that was
stopped, by whatever, goes on where it was.
"""

from lumpylens.scale.campaign import Campaign, score_shards
from lumpylens.scale.shards import score_shard
from lumpylens.scale.simulating import SimulationCampaign, simulate_shards

__all__ = ["Campaign", "SimulationCampaign", "score_shard", "score_shards", "simulate_shards"]
