"""What sets each detector of the field apart: its architecture, its loss, its choice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lumpylens.detectors import Run, create
from lumpylens.detectors.base import to_unit_range
from lumpylens.detectors.paper.aae import AAEConfig, AAENetwork
from lumpylens.detectors.paper.autoencoder import Decoder, Encoder, layer_shapes
from lumpylens.detectors.paper.dcae import DCAEConfig, DCAENetwork
from lumpylens.detectors.paper.rbm import RBMConfig, RBMNetwork
from lumpylens.detectors.paper.vae import VAEConfig, VAENetwork
from lumpylens.errors import DataError
from lumpylens.training.batches import Batches
from lumpylens.training.loop import seeded

CHALLENGE = (150, 150)


def kinds(network: nn.Module, *wanted: type[nn.Module]) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, wanted)]


@pytest.mark.parametrize(
    ("network", "config"),
    [(DCAENetwork, DCAEConfig), (VAENetwork, VAEConfig), (AAENetwork, AAEConfig)],
)
def test_the_published_architecture_is_the_default(network, config):
    built = network(config(), CHALLENGE)
    down = kinds(built, nn.Conv2d)
    assert [(c.in_channels, c.out_channels, *c.kernel_size, *c.stride) for c in down] == [
        (1, 16, 7, 7, 3, 3),
        (16, 32, 7, 7, 3, 3),
        (32, 64, 7, 7, 1, 1),
    ]
    up = kinds(built, nn.ConvTranspose2d)
    assert [(c.in_channels, c.out_channels, *c.stride) for c in up] == [
        (64, 32, 1, 1),
        (32, 16, 3, 3),
        (16, 1, 3, 3),
    ]
    assert kinds(built, Encoder)[0].features == 5184
    assert kinds(built, Decoder)[0].expand.in_features == 1000


def test_the_published_bottlenecks():
    assert kinds(DCAENetwork(DCAEConfig(), CHALLENGE), nn.BatchNorm1d)[0].num_features == 1000
    discriminator = AAENetwork(AAEConfig(), CHALLENGE).discriminator
    assert [(m.in_features, m.out_features) for m in kinds(discriminator, nn.Linear)] == [
        (1000, 256),
        (256, 256),
        (256, 1),
    ]
    assert AAEConfig().prior_sigma == 5
    assert VAEConfig().beta > 0
    assert RBMNetwork(RBMConfig(), CHALLENGE).weight.shape == (1000, 22500)


@pytest.mark.parametrize("shape", [(8, 8), (60, 61), (97, 150), (150, 150), (151, 233)])
def test_an_image_comes_back_in_its_own_size(shape):
    shapes, kernels = layer_shapes(shape)
    assert min(min(pair) for pair in shapes) >= 1
    assert max(kernels) <= 7
    encoder, decoder = Encoder(shape, last_relu=True), Decoder(shape, 3)
    assert encoder(torch.rand(2, *shape)).shape == (2, encoder.features)
    assert decoder(torch.rand(2, 3)).shape == (2, *shape)


def test_the_divergence_of_the_vae_is_that_of_two_normals():
    network = VAENetwork(VAEConfig(latents=4), (12, 12))
    batch = torch.rand(5, 12, 12)
    with seeded(0):
        with_term = next(network.losses(batch))
    network.config = VAEConfig(latents=4, beta=0)
    with seeded(0):
        without = next(network.losses(batch))
    features = network.encoder(batch)
    posterior = torch.distributions.Normal(
        network.mean(features), torch.exp(network.log_variance(features) / 2)
    )
    divergence = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0, 1))
    torch.testing.assert_close(with_term - without, divergence.sum(1).mean() / 144)


def test_each_loss_of_the_aae_reaches_its_own_part():
    network = AAENetwork(AAEConfig(latents=4), (12, 12))
    batch = torch.rand(5, 12, 12)
    parts = [network.encoder, network.decoder, network.discriminator]
    reached = []
    for loss in network.losses(batch):
        network.zero_grad()
        loss.backward(retain_graph=True)
        reached.append([any(p.grad is not None for p in part.parameters()) for part in parts])
    # The encoder's own optimiser is the only one that follows the third loss.
    assert reached == [[True, True, False], [False, False, True], [True, False, True]]
    encoder, decoder, discriminator = ({*part.parameters()} for part in parts)
    steps = [{*o.param_groups[0]["params"]} for o, _ in network.optimisers(1)]
    assert steps == [encoder | decoder, discriminator, encoder]


def test_the_gradient_of_the_rbm_is_contrastive_divergence():
    network = RBMNetwork(RBMConfig(hidden=5), (3, 4))
    batch = torch.rand(7, 3, 4)
    network.start_from(batch)
    with seeded(1):
        loss = next(network.losses(batch))
        loss.backward()
    visible = batch.flatten(1)
    with torch.no_grad(), seeded(1):
        up = torch.sigmoid(visible @ network.weight.T + network.hidden_bias)
        down = torch.sigmoid(torch.bernoulli(up) @ network.weight + network.visible_bias)
        up_again = torch.sigmoid(down @ network.weight.T + network.hidden_bias)
        expected = up_again.T @ down - up.T @ visible
    torch.testing.assert_close(network.weight.grad, expected / 7)
    torch.testing.assert_close(network.visible_bias.grad, (down - visible).mean(0))
    torch.testing.assert_close(network.hidden_bias.grad, (up_again - up).mean(0))
    torch.testing.assert_close(loss.detach(), ((down - visible) ** 2).mean())


def low_rank_images(count: int, rank: int, seed: int) -> np.ndarray:
    basis = np.random.default_rng(0).standard_normal((rank, 12 * 12))
    draw = np.random.default_rng(seed)
    flat = draw.standard_normal((count, rank)) @ basis + 0.3 * draw.standard_normal((count, 144))
    flat[:, 0], flat[:, -1] = -30, 30  # the same scale for every image
    return flat.reshape(count, 12, 12).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [2, 9])
def test_pca_finds_the_number_of_components(rank):
    detector = create("pca", max_components=40)
    detector.fit(low_rank_images(400, rank, 1), validation=low_rank_images(100, rank, 2))
    assert len(detector.components_) == rank
    assert f"{rank} components of at most 40" in detector.card_notes()[0]


def test_pca_says_when_it_tried_too_few():
    detector = create("pca", max_components=4).fit(low_rank_images(200, 9, 1))
    assert "raise `max_components`" in detector.card_notes()[-1]


def test_pca_with_more_components_than_images():
    detector = create("pca").fit(low_rank_images(20, 9, 1))
    assert np.isfinite(detector.anomaly_score(low_rank_images(5, 9, 2))).all()


@pytest.mark.parametrize("name", ["pca", "ocsvm"])
def test_images_that_are_all_alike_are_refused(name):
    with pytest.raises(DataError, match="all alike"):
        create(name).fit(np.repeat(low_rank_images(1, 2, 1), 20, axis=0))


def test_ocsvm_scores_as_scikit_learn_does():
    from sklearn.svm import OneClassSVM

    images, fresh = low_rank_images(100, 5, 1), low_rank_images(20, 5, 2)
    detector = create("ocsvm", n_components=5).fit(images, validation=fresh)

    def features(pixels):
        unit = to_unit_range(pixels).reshape(len(pixels), -1)
        return (unit - detector.learned["mean"]) @ detector.learned["projection"].T

    known = features(images)
    np.testing.assert_allclose(known.std(axis=0, ddof=1), 1, rtol=1e-3)
    reference = OneClassSVM(gamma=1 / 5, nu=0.1).fit(known.astype(np.float64))
    np.testing.assert_allclose(
        detector.score_samples(fresh), reference.decision_function(features(fresh)), atol=1e-6
    )


@pytest.mark.parametrize("name", ["dcae", "pixel"])
def test_no_batch_is_of_one_image(name):
    images = np.random.default_rng(0).normal(size=(9, 12, 12)).astype(np.float32)
    small = {"dcae": {"latents": 4}, "pixel": {"width": 2}}[name]
    detector = create(name, max_epochs=1, batch_size=2, **small)
    detector.fit(images, validation=images[:3], run=Run(device="cpu"))
    assert np.isfinite(detector.anomaly_score(images)).all()


@pytest.mark.parametrize(("count", "size"), [(9, 2), (9, 100), (3, 2), (250, 32), (101, 50)])
def test_every_image_is_in_one_batch_of_an_epoch(count, size):
    batches = Batches(count, size, seed=0)
    given = list(batches)
    assert len(given) == len(batches)
    assert sorted(torch.cat(given).tolist()) == list(range(count))
    assert min(map(len, given)) > 1
    assert max(map(len, given)) <= max(size, 3)
