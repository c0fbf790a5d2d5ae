"""A batch larger than the memory: the encoders see it in pieces, the loss sees it whole.

Plain gradient accumulation would cut the negatives of the contrastive loss down to a piece. Here the features of all
pieces are made without gradient, heads and loss run once on all of them, and then each piece is encoded again to
carry its features' gradient into the encoder. Exact as long as the encoders treat clips one by one (GroupNorm, frozen
BatchNorm); the heads' BatchNorm sees the whole batch. Costs one more forward pass of the encoders.

Source:
    Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", RepL4NLP 2021.
"""

from collections.abc import Iterator

import torch

from mmcsal.tensors.collectives import average_gradients
from mmcsal.training.augment import View
from mmcsal.training.module import Assigned, Loss, Mmssl, both_views


def cached_backward(module: Mmssl, view1: View, view2: View, assigned: Assigned, micro_batch_size: int) -> Loss:
    """The loss and its gradients, as of one pass over all rows; the gradients are the workers' mean.

    Args:
        module: not wrapped: its gradients are averaged here, once.
        micro_batch_size: clips of one pass through the encoders.
    """
    pieces = list(_pieces(both_views(view1, view2), micro_batch_size))
    with torch.no_grad():
        encoded = [module.encode(piece) for piece in pieces]
    video_BC, audio_BC = (torch.cat(parts).requires_grad_() for parts in zip(*encoded, strict=True))
    loss, parts = module.loss_of(video_BC, audio_BC, assigned)
    loss.backward()
    assert video_BC.grad is not None
    assert audio_BC.grad is not None
    gradients = zip(video_BC.grad.split(micro_batch_size), audio_BC.grad.split(micro_batch_size), strict=True)
    for piece, gradient in zip(pieces, gradients, strict=True):
        torch.autograd.backward(module.encode(piece), gradient)
    average_gradients(module.parameters())
    return loss, parts


def _pieces(views: View, size: int) -> Iterator[View]:
    for part in zip(*(tensor.split(size) for tensor in views), strict=True):
        yield View(*part)
