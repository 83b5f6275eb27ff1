"""`gpu_check`, section `correct`: the model on a device against two independent ones.

- A float64 numpy model written from the description alone (tests/support/loopcoder_reference.py),
  for logits. bfloat16 is held to a bound, and to 1.5 times what it costs on the CPU.
- The same model with blockwise attention (the CPU's code, run on the device), for gradients. On a
  CPU it is compared with FlexAttention's eager form, so that there, too, two things are compared.

Every comparison is also made with something wrong on purpose (lines `seen-...`), which has to
exceed ten times the bound, or the comparison could not fail.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn.attention import flex_attention as flex

from codeflow.loopcoder import attention, decode, model
from codeflow.loopcoder.attention import BlockAttention, Documents, FlexAttention
from codeflow.loopcoder.config import Compute, ModelConfig
from codeflow.loopcoder.model import KeyValue, LoopCoder, build
from codeflow.train.state import optim
from codeflow.train.state.optim import orthogonalised

sys.path.extend(map(str, Path(__file__).parents[1].glob("tests/support/*")))
import loopcoder_reference as reference

FLOAT32, BFLOAT16, OF_THE_CPU = 2e-5, 2e-2, 1.5
LENGTHS = [1, 2, 63, 64, 65]  # around one window; two windows where a row has room
Line = dict[str, Any]


def line(name: str, measured: float, bound: float, at_least: bool = False) -> Line:
    good = measured >= bound if at_least else measured <= bound
    sign = ">=" if at_least else "<="
    return {
        "name": name,
        "state": "PASS" if good else "FAIL",
        "measured": float(measured),
        "bound": f"{sign} {bound:g}",
    }


def shape(heads: int, groups: int, size: int, loops: int) -> ModelConfig:
    return ModelConfig(97, 96, 160, 2, heads, groups, size, 8192, loops)


def random_model(config: ModelConfig, device: str, compute: Compute) -> LoopCoder:
    """Nothing at its start value: at the gates' start several wrong models are right."""
    net = build(config, compute).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.normal_(generator=generator)
            if name.endswith("norm.weight"):
                parameter.mul_(0.2).add_(1.0)
            elif "gate_projections" in name and name.endswith("weight"):
                parameter.mul_(0.4)
            elif name.endswith("proj.weight") or name == "lm_head.weight":
                parameter.mul_(parameter.shape[1] ** -0.5)
    return net.to(device)


def layout(tokens: int) -> Documents:
    """Two rows: lengths around the window and twice the window, and one long document."""
    first = list(LENGTHS)
    if tokens > 700:
        first += [127, 128, 129]
    return Documents.of([[*first, tokens - sum(first)], [tokens - 100, 100]])


def ids_of(config: ModelConfig, tokens: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, config.vocab_size, (2, tokens), generator=generator)


def distance(found: Tensor, expected: Tensor) -> float:
    found, expected = found.detach().cpu().double(), expected.detach().cpu().double()
    return float((found - expected).norm() / expected.norm())


def expected_logits(net: LoopCoder, ids: Tensor, documents: Documents) -> Tensor:
    config = net.config
    weights = {n: p.detach().cpu().double().numpy() for n, p in net.named_parameters()}
    of = reference.Shape(
        config.num_hidden_layers,
        config.num_attention_heads,
        config.num_key_value_heads,
        config.head_dim,
        passes=config.loop_num,
    )
    return torch.from_numpy(reference.logits(weights, of, ids.tolist(), documents.lengths))


@contextlib.contextmanager
def blockwise() -> Iterator[None]:
    """The CPU's attention, wherever the tensors are."""
    with mock.patch.object(attention, "_recent_flex", BlockAttention):
        yield


@contextlib.contextmanager
def flexed(device: str) -> Iterator[None]:
    """The device's attention: on a CPU that of a GPU, in the form that has gradients there."""
    if device != "cpu":
        yield
        return
    eager = functools.lru_cache(functools.partial(FlexAttention, backend=None))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="flex_attention called without torch.compile")
        with (
            mock.patch.object(attention, "_recent_blocks", eager),
            mock.patch.object(flex, "_validate_device"),
        ):
            yield


def gradients(net: LoopCoder, ids: Tensor, documents: Documents, device: str) -> list[Tensor]:
    net.zero_grad()
    targets = ids.roll(-1, 1).to(device)
    weights = torch.rand(ids.shape, generator=torch.Generator().manual_seed(2)).to(device)
    net(ids.to(device), documents, targets, weights).sum.backward()
    return [p.grad.clone() for p in net.parameters() if p.grad is not None]


def correct(cpu: bool, out: Path) -> Iterator[Line]:
    device = "cpu" if cpu else "cuda"
    torch.backends.cuda.matmul.allow_tf32 = False
    cases = [(8, 2, 64, 2, 768), (5, 1, 128, 2, 300), (8, 2, 64, 1, 300)]
    for heads, groups, size, loops, tokens in cases[1:] if cpu else cases:
        config = shape(heads, groups, size, loops)
        about = f"{('dense', 'loop')[loops - 1]}-{heads}/{groups}x{size}-T{tokens}"
        yield from tried(about, partial(compared, config, tokens, device, about))
    config, tokens, long = shape(8, 2, 64, 2), *((300, 320) if cpu else (768, 4096))
    about = f"loop-8/2x64-T{long}"
    yield from tried("gradients", lambda: against_blocks(config, long, device, about))
    yield from tried("wrong-ones", lambda: wrong_ones(config, tokens, device))
    yield from tried("isolated", lambda: isolated(config, tokens, device))
    yield from tried("decoded", lambda: decoded(config, device))
    yield from tried("muon", lambda: muon(device))


def tried(name: str, lines: Callable[[], Iterator[Line]]) -> Iterator[Line]:
    """The lines of one part, with nothing compiled before; what stops it stops no other part."""
    torch.compiler.reset()
    try:
        yield from lines()
    except Exception as error:
        said = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')[:200]}"
        yield {"name": name, "state": "FAIL", "measured": said}


def compared(config: ModelConfig, tokens: int, device: str, about: str) -> Iterator[Line]:
    ids, documents = ids_of(config, tokens), layout(tokens)
    net = random_model(config, device, Compute())
    expected = expected_logits(net, ids, documents)
    with torch.no_grad():
        found = net(ids.to(device), documents)
        yield line(f"logits-float32-{about}", distance(found, expected), FLOAT32)
        net.compute = Compute("bfloat16")
        error = distance(net(ids.to(device), documents), expected)
        yield line(f"logits-bfloat16-{about}", error, BFLOAT16)
        if device != "cpu":
            net.compute = Compute("bfloat16", attention="varlen")
            varlen = distance(net(ids.to(device), documents), expected)
            yield line(f"logits-bfloat16-varlen-{about}", varlen, BFLOAT16)
            net.compute = Compute("bfloat16")
        with block_with(gate_swapped):
            wrong = distance(net(ids.to(device), documents), expected)
        net.to("cpu")
        own = distance(net(ids, documents), expected)
        yield line(f"bfloat16-over-the-cpu's-{about}", error / own, OF_THE_CPU)
        if config.loop_num == 2:
            yield line(f"seen-bfloat16-{about}", wrong / own, 10 * OF_THE_CPU, at_least=True)


def against_blocks(config: ModelConfig, tokens: int, device: str, about: str) -> Iterator[Line]:
    """Gradients, and those of models that are wrong in them alone, whose logits are right."""
    ids, documents = ids_of(config, tokens), layout(tokens)
    net = random_model(config, device, Compute())
    with blockwise():
        exact = gradients(net, ids, documents, device)

    def worst(found: list[Tensor]) -> float:
        return max(distance(a, b) for a, b in zip(found, exact, strict=True))

    def found() -> float:
        with flexed(device):
            return worst(gradients(net, ids, documents, device))

    yield line(f"gradients-{about}", found(), FLOAT32)
    for name, wrong in WRONG_GRADIENTS.items():
        with wrong():
            yield line(f"seen-gradients-{name}", found(), 10 * FLOAT32, at_least=True)
    net.compute = Compute("bfloat16")
    narrow = found()
    with blockwise():
        own = worst(gradients(net, ids, documents, device))
    yield line(f"bfloat16-over-blockwise-{about}", narrow / own, OF_THE_CPU)


def isolated(config: ModelConfig, tokens: int, device: str) -> Iterator[Line]:
    """One document replaced by another: the others' logits are the same bits."""
    ids, documents = ids_of(config, tokens), layout(tokens)
    other = ids.clone()
    start = sum(LENGTHS[:3])
    other[0, start : start + 64] = (ids[0, start : start + 64] + 1) % config.vocab_size
    net = random_model(config, device, Compute())
    kept = (ids == other).to(device)

    def changed() -> int:
        with torch.no_grad():
            a, b = (net(x.to(device), documents) for x in (ids, other))
        return int((a[kept] != b[kept]).any(-1).sum())

    yield line("tokens-changed-by-another-document", changed(), 0)
    with documents_ignored():
        yield line("seen-another-document", changed(), 1, at_least=True)


def decoded(config: ModelConfig, device: str) -> Iterator[Line]:
    """With its cache, in chunks around the window, against the full pass."""
    net = random_model(config, device, Compute()).eval()
    ids = ids_of(config, 200).to(device)
    with torch.no_grad(), blockwise():
        expected = net(ids)

    def error() -> float:
        cache = decode.Cache(net, 2, 200)
        steps = [ids[:, i:j] for i, j in ((0, 63), (63, 127), (127, 192), (192, 193), (193, 200))]
        counts = [torch.full((2,), step.shape[1], device=device) for step in steps]
        with torch.no_grad():
            parts = [
                net.lm_head(decode.extend(net, cache, step, count))
                for step, count in zip(steps, counts, strict=True)
            ]
        return distance(torch.cat(parts, 1), expected)

    yield line("decoding-with-cache", error(), FLOAT32)
    net.config = dataclasses.replace(config, loop_window_size=63)  # the cache's, not the model's
    yield line("seen-decoding-window-63", error(), 10 * FLOAT32, at_least=True)


def muon(device: str) -> Iterator[Line]:
    """Stacks of matrices of unlike sizes, as layers have them."""
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([1e-3, 1.0])[:, None, None]
    for rows, columns in ((256, 256), (192, 768)):
        stack = (torch.randn(2, rows, columns, generator=generator) * scales).to(device)
        # a square matrix has singular values near 0, which five steps leave behind
        share = 0.1 if rows == columns else 0.0

        def smallest(matrices: Tensor, share: float = share) -> float:
            values = torch.linalg.svdvals(matrices.float())
            return float(values.quantile(share, dim=-1).min())

        name = f"muon-{rows}x{columns}"
        found = orthogonalised(stack)
        yield line(f"{name}-largest", float(torch.linalg.svdvals(found.float()).max()), 1.3)
        yield line(f"{name}-smallest", smallest(found), 0.6, at_least=True)
        with mock.patch.object(torch, "_foreach_norm", norm_of_all):
            yield line(f"seen-{name}-one-norm", smallest(orthogonalised(stack)), 0.6)
        with mock.patch.object(optim, "NEWTON_SCHULZ_STEPS", 1):
            yield line(f"seen-{name}-one-step", smallest(orthogonalised(stack)), 0.6)


# -- wrong on purpose ------------------------------------------------------------------------------


def block_with(heads_of: Callable[..., Tensor]) -> Any:
    """`Layer._block` with something else between the projections of pass 2 and the output."""

    def block(
        self: Any, h: Any, rope: Any, attend: Any, k1: Any, v1: Any, gate: Any, dtype: Any
    ) -> Any:
        q, k, v = self.self_attn.project(self.input_layernorm(h, dtype), rope)
        if gate is None:
            return self.finish(h, attend.causal(q, k, v), dtype), k, v, None
        heads = heads_of(attend, rope, gate, q, k, v, KeyValue(k1, v1))
        return self.finish(h, heads, dtype), k, v, None

    return mock.patch.object(model.Layer, "_block", block)


def gate_before_rope(attend: Any, rope: Any, gate: Any, q: Any, k: Any, v: Any, first: Any) -> Any:
    back = model.rotate(q, model.Rope(rope.cos, -rope.sin))
    return model.mix(gate(back), attend.causal(q, *first), attend.sliding(q, k, v))


def global_over_k2(attend: Any, rope: Any, gate: Any, q: Any, k: Any, v: Any, first: Any) -> Any:
    return model.mix(gate(q), attend.causal(q, k, v), attend.sliding(q, k, v))


def no_window(attend: Any, rope: Any, gate: Any, q: Any, k: Any, v: Any, first: Any) -> Any:
    return model.mix(gate(q), attend.causal(q, *first), attend.causal(q, k, v))


def gate_swapped(attend: Any, rope: Any, gate: Any, q: Any, k: Any, v: Any, first: Any) -> Any:
    return model.mix(1 - gate(q), attend.causal(q, *first), attend.sliding(q, k, v))


def window_of(size: int) -> Any:
    right = attention.for_batch
    return mock.patch.object(attention, "for_batch", lambda d, w, *rest: right(d, size, *rest))


def documents_ignored() -> Any:
    right = attention.for_batch

    def whole(documents: Documents, *rest: Any) -> Any:
        return right(Documents.whole(len(documents.lengths), documents.tokens), *rest)

    return mock.patch.object(attention, "for_batch", whole)


def positions_not_restarted() -> Any:
    def positions(self: Documents, device: torch.device) -> Tensor:
        return torch.arange(self.tokens, device=device).repeat(len(self.lengths), 1)

    return mock.patch.object(Documents, "positions", positions)


def norm_of_all(matrices: list[Tensor]) -> list[Tensor]:
    """Of a stack of matrices, for each: that of the whole stack."""
    return [torch.stack(matrices).norm()] * len(matrices)


def k1_detached(attend: Any, rope: Any, gate: Any, q: Any, k: Any, v: Any, first: Any) -> Any:
    over_first = attend.causal(q, *(x.detach() for x in first))
    return model.mix(gate(q), over_first, attend.sliding(q, k, v))


def k2_detached(attend: Any, rope: Any, gate: Any, q: Any, k: Any, v: Any, first: Any) -> Any:
    return model.mix(gate(q), attend.causal(q, *first), attend.sliding(q, k.detach(), v))


def gate_detached(attend: Any, rope: Any, gate: Any, q: Any, k: Any, v: Any, first: Any) -> Any:
    return model.mix(gate(q.detach()), attend.causal(q, *first), attend.sliding(q, k, v))


WRONG: dict[str, Callable[[], Any]] = {
    "gate-before-rope": lambda: block_with(gate_before_rope),
    "global-over-k2": lambda: block_with(global_over_k2),
    "no-window": lambda: block_with(no_window),
    "gate-swapped": lambda: block_with(gate_swapped),
    "documents-ignored": documents_ignored,
    "positions-not-restarted": positions_not_restarted,
    "window-63": lambda: window_of(63),
    "window-65": lambda: window_of(65),
}


WRONG_GRADIENTS: dict[str, Callable[[], Any]] = {
    "k1-detached": lambda: block_with(k1_detached),
    "k2-detached": lambda: block_with(k2_detached),
    "gate-detached": lambda: block_with(gate_detached),
    "window-65": lambda: window_of(65),
    "documents-ignored": documents_ignored,
}


def wrong_ones(config: ModelConfig, tokens: int, device: str) -> Iterator[Line]:
    ids, documents = ids_of(config, tokens), layout(tokens)
    net = random_model(config, device, Compute())
    expected = expected_logits(net, ids, documents)
    for name, wrong in WRONG.items():
        with torch.no_grad(), wrong():
            error = distance(net(ids.to(device), documents), expected)
        yield line(f"seen-{name}", error, 10 * FLOAT32, at_least=True)
