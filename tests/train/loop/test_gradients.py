import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributed
from torch.multiprocessing import spawn

from xsheet.train.loop.gradients import TreeReduceScatter, TreeSum, local_squared_norm


def leaves(count):
    rng = torch.Generator().manual_seed(count)
    return [torch.randn(50, generator=rng) * 10.0 ** torch.randint(-4, 5, (50,), generator=rng) for _ in range(count)]


def summed(tensors):
    tree = TreeSum()
    for tensor in tensors:
        tree.add([tensor.clone()])
    return tree.total()[0]


@given(st.integers(1, 6), st.integers(0, 3))
def test_the_sum_is_the_same_however_a_power_of_two_of_workers_shares_the_leaves(steps, power):
    workers = 2**power
    alone = leaves(steps * workers)
    # What all workers compute at one time is added between them first.
    together = [summed(alone[k : k + workers]) for k in range(0, len(alone), workers)]
    assert torch.equal(summed(together), summed(alone))


def test_a_running_sum_would_not_be_the_same():
    alone = leaves(8)
    two = [alone[k] + alone[k + 1] for k in range(0, 8, 2)]
    assert not torch.equal(sum(two), sum(alone))


@given(st.integers(1, 40))
def test_the_sum_is_right(count):
    tensors = leaves(count)
    torch.testing.assert_close(summed(tensors), torch.stack(tensors).double().sum(0).float(), rtol=1e-4, atol=1e-3)


def test_a_sum_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one leaf"):
        TreeSum().total()


def test_the_norm_of_what_is_not_finite_is_not_finite():
    for value in (torch.nan, torch.inf, -torch.inf):
        assert not torch.isfinite(local_squared_norm([torch.ones(3), torch.tensor([1.0, value])]))


def scatter(rank, size, folder):
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    store = distributed.FileStore(str(folder / "store"), size)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=size)
    mine, out = leaves(size)[rank][:48], torch.empty(48 // size)
    TreeReduceScatter()(out, mine.clone(), distributed.group.WORLD, None)
    torch.save(out, folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.nightly
def test_each_worker_gets_its_rows_of_the_tree_sum(tmp_path):
    spawn(scatter, (4, tmp_path), nprocs=4)
    rows = torch.cat([torch.load(tmp_path / f"{rank}.pt") for rank in range(4)])
    assert torch.equal(rows, summed([leaf[:48] for leaf in leaves(4)]))
