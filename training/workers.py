"""Training on several GPUs or cores: a process each, with the same weights, on batches of its own."""

import os
from argparse import Namespace
from collections.abc import Callable

import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn


def on_workers(work: Callable[[Namespace], None], options: Namespace) -> None:
    """Runs `work` once a GPU, or once a core with one thread each; their gradients are averaged in every step.

    Small networks leave a second thread idle most of the time: two workers do 1.8 times as much as two threads.
    """
    count = torch.cuda.device_count() if options.device == "cuda" else len(os.sched_getaffinity(0))
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29571")
    spawn(_worker, (count, work, options), nprocs=count)  # type: ignore[no-untyped-call]


def _worker(rank: int, count: int, work: Callable[[Namespace], None], options: Namespace) -> None:
    cuda = options.device == "cuda"
    if cuda:
        torch.cuda.set_device(rank)
    else:
        torch.set_num_threads(1)
    distributed.init_process_group("nccl" if cuda else "gloo", rank=rank, world_size=count)
    work(options)
    distributed.destroy_process_group()


def rank() -> int:
    """This worker's number; 0 where there is only one."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def average_gradients(parameters: list[nn.Parameter]) -> None:
    """Replaces every worker's gradients with their mean; nothing where there is only one worker."""
    if not distributed.is_initialized():
        return
    for parameter in parameters:  # a step may leave a part out on one worker only
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    shares = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, share in zip(gradients, shares, strict=True):
        gradient.copy_(share.view_as(gradient))
