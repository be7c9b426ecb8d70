"""Gradient training with cross entropy; needs PyTorch (the optional extra `train`)."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from av_digits.data import Sight
from av_digits.features import Counts, sight_epoch
from av_digits.networks import (
    AudioNetwork,
    AudioShape,
    VisionNetwork,
    VisionShape,
    spike_rates,
)

Progress = Callable[[str], None]
AUDIO_EPOCHS = 18
VISION_EPOCHS = 60


def train_audio(
    copies: Counts,
    digits: NDArray[np.int64],
    seed: int,
    report: Progress,
    epochs: int = AUDIO_EPOCHS,
) -> AudioNetwork:
    """Return a network trained on augmented copies.

    Args:
        copies: counts [clips, copies, steps, lines]; every epoch takes another copy of each clip.
        digits: [clips].
        seed: of weights, time constants and order.
        report: called with a line of progress now and then.
        epochs: passes over the clips.
    """
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    number, versions, steps, lines = copies.shape
    turns = np.stack([draw.permutation(versions) for _ in range(number)])
    network = AudioNetwork(AudioShape(lines=lines, steps=steps))

    def epoch_counts(epoch: int) -> Counts:
        return copies[np.arange(number), turns[:, epoch % versions]]

    fit(network, epoch_counts, digits, epochs, batch=64, rate=2e-3, report=report)
    return network


def train_vision(
    sights: Sequence[Sight], seed: int, report: Progress, epochs: int = VISION_EPOCHS
) -> VisionNetwork:
    """Return a network trained on the sights, each augmented anew in every epoch."""
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    network = VisionNetwork(VisionShape())
    digits = np.array([sight.digit for sight in sights])
    fit(
        network,
        lambda _: sight_epoch(sights, draw),
        digits,
        epochs,
        batch=32,
        rate=4e-3,
        report=report,
    )
    return network


def fit(
    network: nn.Module,
    epoch_counts: Callable[[int], Counts],
    digits: NDArray[np.int64],
    epochs: int,
    *,
    batch: int,
    rate: float,
    report: Progress,
) -> None:
    """Train in place: AdamW, one learning-rate cycle, label smoothing.

    Args:
        network: gives logits from counts [batch, ...].
        epoch_counts: epoch → counts [samples, ...].
        digits: right answers [samples].
        epochs: passes over the samples.
        batch: samples per step.
        rate: highest learning rate.
        report: called with a line of progress four times.
    """
    answers = torch.as_tensor(digits)
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=1e-4)
    # The last, smaller batch of an epoch is left out: batch norm wants full ones.
    steps = epochs * (len(digits) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, rate, total_steps=steps, pct_start=0.15
    )
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    for epoch in range(epochs):
        network.train()
        counts = epoch_counts(epoch)
        order = torch.randperm(len(digits))
        losses = []
        for chosen in torch.split(order[: len(digits) // batch * batch], batch):
            loss = loss_of(
                network(torch.as_tensor(counts[chosen.numpy()]).float()), answers[chosen]
            )
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 2.0)
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
        if (epoch + 1) % max(1, epochs // 4) == 0:
            rates = {name: round(value, 3) for name, value in spike_rates(network).items()}
            report(f"  epoch {epoch + 1}/{epochs}: loss {np.mean(losses):.3f}, spike rates {rates}")


@torch.no_grad()
def logits(network: nn.Module, counts: Counts, batch: int = 250) -> NDArray[np.float64]:
    """Return logits [samples, 10] for counts [samples, ...]."""
    network.eval()
    parts = [
        network(torch.as_tensor(counts[first : first + batch]).float())
        for first in range(0, len(counts), batch)
    ]
    return np.asarray(torch.cat(parts).double().numpy())
