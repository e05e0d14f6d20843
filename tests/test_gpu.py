"""What runs on a GPU alone, tried on the CPU: bfloat16, compiled blocks, copies."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.distributed as dist
from retriever_case import KINDS, random_codes, random_retriever
from torch.nn.parallel import DistributedDataParallel

from catid2.runtime import gpu
from catid2.runtime.gpu import blocks, compile_blocks, uncompiled
from catid2.training.loop import InBfloat16
from catid2.training.tokens import TokenTable

SIZES = (5, 5, 5, 3)
GPU = torch.device("cuda")
Batch = dict[str, torch.Tensor]


def batch(tokens: int, examples: int = 16) -> Batch:
    """Return the arguments of a retriever's forward, every other text shorter by two tokens."""
    ids = torch.randint(3, 250, (examples, tokens), generator=torch.Generator().manual_seed(tokens))
    mask = torch.ones_like(ids)
    mask[::2, tokens - 2 :] = 0
    codes = torch.from_numpy(random_codes(examples, SIZES)).long()
    return {"input_ids": ids, "attention_mask": mask, "codes": codes}


def loss_and_gradients(model: torch.nn.Module, arguments: Batch) -> tuple[float, torch.Tensor]:
    """Return the loss of a batch, and its gradients in a row."""
    model.zero_grad()
    torch.manual_seed(0)  # of dropout
    loss = model(**arguments)
    loss.backward()
    return loss.item(), torch.cat([weights.grad.flatten() for weights in model.parameters()])


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_is_float32_up_to_rounding(kind):
    """Bounds: 0.5% of the loss, and 6% of the gradient's length, where autocast is up to 5% away.

    The errors of the examples' gradients do not cancel in their mean as the gradients do.
    """
    retriever = random_retriever(kind, SIZES)
    expected, slope = loss_and_gradients(retriever, batch(9))
    found = []
    for block in blocks(retriever):
        block.register_forward_hook(lambda block, inputs, output: found.append(output[0].dtype))
    loss, reduced_slope = loss_and_gradients(InBfloat16(retriever), batch(9))
    assert set(found) == {torch.bfloat16}, "also the states between the blocks"
    assert loss != expected
    assert loss == pytest.approx(expected, rel=0.005)
    assert (reduced_slope - slope).norm() < 0.06 * slope.norm()
    assert loss_and_gradients(retriever, batch(9))[0] == expected, "the weights are as they were"


def test_training_in_bfloat16_is_that_of_float32():
    """Bound: at each step 2% of the first loss."""
    losses = []
    for wrap in (lambda model: model, InBfloat16):
        retriever = random_retriever("t5", SIZES)
        model = wrap(retriever)
        optimizer = torch.optim.AdamW(retriever.parameters(), lr=0.01)
        for _ in range(20):
            losses.append(loss_and_gradients(model, batch(9))[0])
            optimizer.step()
    full, reduced = losses[:20], losses[20:]
    assert full[-1] < full[0] / 4
    np.testing.assert_allclose(reduced, full, rtol=0, atol=0.02 * full[0])


def test_the_gradients_of_bfloat16_pass_through_ddp(tmp_path):
    retriever = random_retriever("t5", SIZES)
    expected = loss_and_gradients(InBfloat16(retriever), batch(9))
    dist.init_process_group("gloo", store=dist.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1)
    try:
        model = DistributedDataParallel(InBfloat16(retriever))
        found = loss_and_gradients(model, batch(9))
    finally:
        dist.destroy_process_group()
    assert found[0] == expected[0]
    assert torch.equal(found[1], expected[1])


@pytest.fixture
def counted():
    """A compiler that leaves the traced code as it is, and what it was given."""
    torch.compiler.reset()
    graphs = []

    def compiler(graph: torch.fx.GraphModule, inputs: list) -> Callable:
        graphs.append(graph)
        return graph.forward

    yield compiler, graphs
    torch.compiler.reset()


@pytest.mark.slow
def test_compiled_blocks_compute_what_they_did_with_one_code_for_all_lengths(counted, monkeypatch):
    compiler, graphs = counted
    monkeypatch.setattr(gpu, "can_compile", lambda: True)
    eager = random_retriever("t5", SIZES).train()
    compiled = copy.deepcopy(eager)
    compile_blocks(compiled.t5, torch.device("cpu"), compiler)
    with torch.inference_mode():
        compiled(**batch(8))
    assert not graphs, "a CPU compiles nothing"
    compile_blocks(compiled.t5, GPU, compiler)
    for tokens in (8, 11, 24):
        expected = loss_and_gradients(InBfloat16(eager), batch(tokens))
        found = loss_and_gradients(InBfloat16(compiled), batch(tokens))
        assert found[0] == expected[0]
        assert torch.equal(found[1], expected[1])
        assert len(graphs) == 4, "the first and the other blocks, of encoder and decoder"
    with uncompiled(GPU), torch.inference_mode():
        assert torch.equal(compiled.eval()(**batch(9)), eager.eval()(**batch(9)))
    assert len(graphs) == 4


def test_without_a_c_compiler_blocks_stay_as_they_are_and_a_warning_says_so(monkeypatch, caplog):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    retriever = random_retriever("t5", SIZES)
    compile_blocks(retriever.t5, GPU, "no such compiler")
    assert "no C compiler" in caplog.text
    retriever(**batch(9))


def test_a_batch_on_a_gpu_is_padded_to_a_multiple_of_8():
    table = TokenTable(np.arange(22, dtype=np.int32), np.array([0, 3, 13, 22]))
    plain, padded = table.batch(np.array([1, 2]), 0), table.batch(np.array([1, 2]), 0, multiple=8)
    assert padded.input_ids.shape == (2, 16)
    assert torch.equal(padded.input_ids[:, :10], plain.input_ids)
    assert torch.equal(padded.attention_mask.sum(1), plain.attention_mask.sum(1))
    assert not padded.attention_mask[:, 10:].any()
    assert table.batch(np.array([0]), 0, multiple=3).input_ids.shape == (1, 3)
