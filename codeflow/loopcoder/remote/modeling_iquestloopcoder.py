"""IQuest LoopCoder for transformers: a Llama whose layers run twice.

    h = E[x]
    pass 1   every layer, causal attention of Q1 over K1, V1; K1 and V1 are kept
    pass 2   the same layers on the raw result: Q2 over the kept K1, V1 (global, causal) and over
             its own K2, V2 (local, a sliding window of 64), mixed by a gate per head and token
    logits = lm_head(RMSNorm(h))

The cache has 2 L layers for L layers of weights: L that grow, for K1 and V1, and L that hold a
window, for K2 and V2. A token at position p sees itself and at most the p tokens before it, so that
documents packed into a row, with positions that start again at 0, do not see each other, whether
they are read at once, in chunks, or token by token. Attention is `scaled_dot_product_attention`;
the window's cost is linear in the length.

B batch, T new tokens, S tokens so far with the new ones, C hidden size, H heads, G key-value heads,
D head size, W window.
"""

import dataclasses

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from .configuration_iquestloopcoder import IQuestLoopCoderConfig

_FIELDS = {field.name for field in dataclasses.fields(CausalLMOutputWithPast)}
_CACHE = "cache" if "cache" in _FIELDS else "past_key_values"  # its name from transformers 5.24 on


class Sight:
    """Which tokens each of the new tokens sees.

    `plain` when that is every token before it: then causal attention needs no mask.
    """

    def __init__(self, past, positions, attention_mask):
        batch, tokens = positions.shape
        device = positions.device
        self.past, self.tokens, self.positions = past, tokens, positions  # (B, T)
        self.real = None  # (B, S)
        self.rank = torch.arange(past + tokens, device=device).expand(batch, -1)  # (B, S)
        if attention_mask is not None:
            if attention_mask.dim() != 2 or attention_mask.shape[1] != past + tokens:
                raise ValueError(
                    f"attention_mask {tuple(attention_mask.shape)}: (batch, {past + tokens}) is "
                    "what this model takes, 1 for tokens and 0 for padding; documents that must "
                    "not see each other are told apart by position_ids"
                )
            self.real = attention_mask.to(device).bool()
            self.rank = self.real.long().cumsum(-1) - 1
        own = self.rank[:, past:]
        self.plain = bool((positions >= own).all()) and (self.real is None or bool(self.real.all()))

    def mask(self, queries, keys, window=None):
        """(B or 1, ..., Q, K) bool for indices (..., Q) of new tokens and (..., K) of all tokens.

        Indices of keys below 0 stand for none.
        """
        distance = (queries + self.past)[..., :, None] - keys[..., None, :]
        seen = (distance >= 0) & (keys >= 0)[..., None, :]
        if window is not None:
            seen = seen & (distance < window)
        if self.plain:
            return seen[None]
        own = self.rank[:, self.past :][:, queries] - self.positions[:, queries]  # (B, ..., Q)
        keys = keys.clamp(min=0)
        near = self.rank[:, keys][..., None, :] >= own[..., :, None]
        if self.real is not None:
            near = near & self.real[:, keys][..., None, :]
        return seen & (near | (distance == 0))

    def causal(self, q, k, v):
        """Attention of (B, H, T, D) over all of (B, G, S, D)."""
        if self.plain and (self.past == 0 or self.tokens == 1):
            return _attend(q, k, v, is_causal=self.tokens > 1)
        indices = torch.arange(k.shape[2], device=self.rank.device)
        return _attend(q, k, v, self.mask(indices[: self.tokens], indices)[:, None])

    def window(self, q, k, v, size):
        """Attention of (B, H, T, D) over the newest of (B, G, T + at most size - 1, D).

        More queries than the window has are cut into blocks of that size; each sees its own block
        of keys and the one before.
        """
        held = k.shape[2] - self.tokens
        indices = torch.arange(self.tokens, device=self.rank.device)
        if self.tokens <= size:
            keys = torch.arange(-held, self.tokens, device=self.rank.device) + self.past
            return _attend(q, k, v, self.mask(indices, keys, size)[:, None])
        blocks = -(-self.tokens // size)
        short = blocks * size - self.tokens
        k, v = (
            F.pad(x, (0, 0, size - held, short)).unfold(2, 2 * size, size).transpose(3, 4)
            for x in (k, v)
        )  # (B, G, blocks, 2 W, D)
        q = F.pad(q, (0, 0, 0, short)).unflatten(2, (blocks, size))  # (B, H, blocks, W, D)
        queries = F.pad(indices, (0, short)).unflatten(0, (blocks, size))
        keys = torch.arange(-size, blocks * size, device=self.rank.device).unfold(0, 2 * size, size)
        keys = torch.where((keys >= -held) & (keys < self.tokens), keys + self.past, -1)
        mask = self.mask(queries, keys, size)  # (B or 1, blocks, W, 2 W)
        mask = mask.expand(len(q), -1, -1, -1).flatten(0, 1)[:, None]
        q, k, v = (x.transpose(1, 2).flatten(0, 1) for x in (q, k, v))
        out = _attend(q, k, v, mask).unflatten(0, (-1, blocks)).transpose(1, 2)
        return out.flatten(2, 3)[:, :, : self.tokens]


def _attend(q, k, v, mask=None, is_causal=False):
    """Grouped attention; keys and values are repeated where a mask keeps kernels from doing it."""
    if mask is not None:
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
        mask = mask.to(q.device)
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=is_causal, enable_gqa=mask is None
    )


class IQuestLoopCoderRMSNorm(nn.Module):
    """`weight * x / sqrt(mean(x^2) + eps)`, computed in float32."""

    def __init__(self, size, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x):
        return F.rms_norm(x.float(), self.weight.shape, self.weight.float(), self.eps).to(x.dtype)


class IQuestLoopCoderGate(nn.Module):
    """`sigmoid(w_h . q_h + b_h)`: one number per head and token, from the rotated query."""

    def __init__(self, heads, head_dim):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(heads, head_dim))
        self.bias = nn.Parameter(torch.full((heads,), 2.0))

    def forward(self, q):
        """(B, H, T, D) -> (B, H, T, 1)."""
        weight, bias = self.weight.to(q.dtype), self.bias.to(q.dtype)
        return torch.sigmoid(q @ weight[:, :, None] + bias[:, None, None])


class IQuestLoopCoderAttention(nn.Module):
    """The four projections, without biases."""

    def __init__(self, config):
        super().__init__()
        size, self.head_dim = config.hidden_size, config.head_dim
        all_heads = config.num_attention_heads * self.head_dim
        all_groups = config.num_key_value_heads * self.head_dim
        self.q_proj = nn.Linear(size, all_heads, bias=False)
        self.k_proj = nn.Linear(size, all_groups, bias=False)
        self.v_proj = nn.Linear(size, all_groups, bias=False)
        self.o_proj = nn.Linear(all_heads, size, bias=False)

    def project(self, x, cos, sin):
        """(B, T, C) -> q (B, H, T, D), k and v (B, G, T, D); q and k rotated."""
        q, k, v = (
            projection(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        return _rotate(q, cos, sin), _rotate(k, cos, sin), v


def _rotate(x, cos, sin):
    wide = x.float()
    left, right = wide.chunk(2, dim=-1)
    return (wide * cos + torch.cat((-right, left), dim=-1) * sin).to(x.dtype)


class IQuestLoopCoderMLP(nn.Module):
    """`down(silu(gate(x)) * up(x))`."""

    def __init__(self, config):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class IQuestLoopCoderDecoderLayer(nn.Module):
    """One block, used once in each pass."""

    def __init__(self, config):
        super().__init__()
        self.window = config.loop_window_size
        self.self_attn = IQuestLoopCoderAttention(config)
        self.mlp = IQuestLoopCoderMLP(config)
        self.input_layernorm = IQuestLoopCoderRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = IQuestLoopCoderRMSNorm(
            config.hidden_size, config.rms_norm_eps
        )

    def forward(self, h, cos, sin, sight, first_k=None, first_v=None, gate=None, update=None):
        """(B, T, C) -> (B, T, C), and this pass's keys and values with what `update` has of old.

        `first_k`, `first_v` and `gate` make it pass 2. Flat arguments and results, as checkpointing
        sees tensors.
        """
        q, k, v = self.self_attn.project(self.input_layernorm(h), cos, sin)
        if update is not None:
            k, v = update(k, v)
        if gate is None:
            heads = sight.causal(q, k, v)
        else:
            g = gate(q).to(q.device)
            over_first = sight.causal(q, first_k, first_v)
            heads = g * over_first + (1 - g) * sight.window(q, k, v, self.window)
        h = h + self.self_attn.o_proj(heads.transpose(1, 2).flatten(2))
        h = h + self.mlp(self.post_attention_layernorm(h))
        return h, k, v


class IQuestLoopCoderPreTrainedModel(PreTrainedModel):
    """What both classes share: how they load, start and place their parts."""

    config_class = IQuestLoopCoderConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["IQuestLoopCoderDecoderLayer"]  # noqa: RUF012  (transformers' way)
    _supports_sdpa = True

    @torch.no_grad()
    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        elif isinstance(module, IQuestLoopCoderRMSNorm):
            nn.init.ones_(module.weight)
        elif isinstance(module, IQuestLoopCoderGate):
            nn.init.zeros_(module.weight)
            nn.init.constant_(module.bias, 2.0)

    def cache_of_both_passes(self, cache=None):
        """A new cache, or an empty one of the usual kind with the second pass's layers added."""
        layers, window = self.config.num_hidden_layers, self.config.loop_window_size
        cache = DynamicCache() if cache is None else cache
        held = getattr(cache, "layers", None)
        if held is not None and len(held) == 2 * layers:
            return cache
        usable = held is not None and all(isinstance(layer, DynamicLayer) for layer in held)
        if not usable or len(held) not in (0, layers) or cache.get_seq_length():
            raise ValueError(
                f"{type(cache).__name__}: this model needs a dynamic cache of both passes; pass an "
                "empty DynamicCache, or none"
            )
        held += [DynamicLayer() for _ in range(layers - len(held))]
        held += [DynamicSlidingWindowLayer(sliding_window=window) for _ in range(layers)]
        cache.layer_class_to_replicate = None
        return cache


class IQuestLoopCoderModel(IQuestLoopCoderPreTrainedModel):
    """Embedding, the layers in their two passes, and the final norm."""

    def __init__(self, config):
        super().__init__(config)
        layers = range(config.num_hidden_layers)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(IQuestLoopCoderDecoderLayer(config) for _ in layers)
        self.norm = IQuestLoopCoderRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.gate_projections = nn.ModuleList(
            IQuestLoopCoderGate(config.num_attention_heads, config.head_dim) for _ in layers
        )
        self.gradient_checkpointing = False
        self.post_init()

    def _rope(self, positions):
        """cos and sin of (B, T) positions' angles, (B, 1, T, D), float32."""
        size = self.config.head_dim
        exponents = torch.arange(0, size, 2, device=positions.device, dtype=torch.float32)
        frequencies = self.config.rope_parameters["rope_theta"] ** -(exponents / size)
        angles = positions[:, None, :, None].float() * frequencies
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos(), angles.sin()

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        past_key_values=None,
        inputs_embeds=None,
        use_cache=None,
        output_hidden_states=None,
        cache=None,
        return_dict=True,
        **kwargs,
    ):
        """(B, T) ids to (B, T, C); `hidden_states` has 2 L + 1 entries, through both passes."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        if kwargs.get("output_attentions"):
            raise ValueError("output_attentions: this model's attention keeps no scores")
        h = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        cache = past_key_values if cache is None else cache
        recompute = self.gradient_checkpointing and self.training and torch.is_grad_enabled()
        if recompute:  # what a backward pass computes again must not be cached again
            if cache is not None and cache.get_seq_length():
                raise ValueError("gradient checkpointing cannot go on from a cache")
            use_cache, cache = False, None
        use_cache = self.config.use_cache if use_cache is None else use_cache
        if use_cache or cache is not None:
            cache = self.cache_of_both_passes(cache)
        past = 0 if cache is None else cache.get_seq_length()
        if position_ids is None:
            position_ids = torch.arange(past, past + h.shape[1], device=h.device)[None]
        position_ids = position_ids.to(h.device).expand(h.shape[0], -1)
        sight = Sight(past, position_ids, attention_mask)
        cos, sin = self._rope(position_ids)

        def run(layer, number, *first):
            def update(k, v):
                return cache.update(k, v, number)

            inputs = (h, cos, sin, sight, *first, *((None,) * (3 - len(first))))
            if recompute:
                return self._gradient_checkpointing_func(layer.__call__, *inputs)
            return layer(*inputs, update if cache is not None else None)

        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        states, kept = (), []
        for number, layer in enumerate(self.layers):
            states += (h,) if output_hidden_states else ()
            h, *first = run(layer, number)
            kept.append(first)
        gated = zip(self.layers, kept, self.gate_projections, strict=True)
        for number, (layer, first, gate) in enumerate(gated, len(self.layers)):
            states += (h,) if output_hidden_states else ()
            h, _, _ = run(layer, number, *first, gate)
        h = self.norm(h)
        states = (*states, h) if output_hidden_states else None
        output = BaseModelOutputWithPast(h, hidden_states=states, **{_CACHE: cache})
        return output if return_dict in (None, True) else output.to_tuple()


class IQuestLoopCoderForCausalLM(IQuestLoopCoderPreTrainedModel, GenerationMixin):
    """The language model: logits of the next token, and the loss when labels are given."""

    def __init__(self, config):
        super().__init__(config)
        self.model = IQuestLoopCoderModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def _prepare_cache_for_generation(self, generation_config, model_kwargs, *args, **kwargs):
        """Adds the second pass to the cache before generation asks anything else of it."""
        super()._prepare_cache_for_generation(generation_config, model_kwargs, *args, **kwargs)
        if (cache := model_kwargs.get(_CACHE)) is not None:
            self.cache_of_both_passes(cache)
            if getattr(generation_config, "is_assistant", False):  # whose guesses are taken back
                cache.activate_past_recording()

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        past_key_values=None,
        inputs_embeds=None,
        labels=None,
        use_cache=None,
        logits_to_keep=0,
        cache=None,
        return_dict=True,
        **kwargs,
    ):
        """Logits (B, T, V), or of the last `logits_to_keep` tokens, or of those it names."""
        output = self.model(
            input_ids, attention_mask, position_ids, past_key_values, inputs_embeds, use_cache,
            cache=cache, **kwargs,
        )  # fmt: skip
        logits = self.lm_head(_kept(output.last_hidden_state, logits_to_keep))
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs
            )
        states, cache = output.hidden_states, getattr(output, _CACHE)
        result = CausalLMOutputWithPast(loss, logits, hidden_states=states, **{_CACHE: cache})
        return result if return_dict in (None, True) else result.to_tuple()


def _kept(h, which):
    """The last `which` tokens (0: all), or those that a tensor of indices or booleans names."""
    if isinstance(which, int):
        return h[:, -which:] if which else h
    if which.dim() == 1:
        return h[:, which]
    if which.dtype == torch.bool:
        return h[which]
    return torch.take_along_dim(h, which[..., None], dim=1)
