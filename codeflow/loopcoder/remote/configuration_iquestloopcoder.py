"""The configuration of an IQuest LoopCoder: a Llama whose layers run twice.

Keys and defaults are those of the released checkpoint's `config.json`.
"""

from transformers import PretrainedConfig


class IQuestLoopCoderConfig(PretrainedConfig):
    """Shape of a model.

    `loop_num` is the number of passes over the layers, always 2; `loop_window_size` is how many
    tokens the second pass attends to locally, the query's own included.
    """

    model_type = "iquestloopcoder"
    keys_to_ignore_at_inference = ["past_key_values", "cache"]  # noqa: RUF012  (transformers' way)

    def __init__(
        self,
        vocab_size=76800,
        hidden_size=5120,
        intermediate_size=27648,
        num_hidden_layers=80,
        num_attention_heads=40,
        num_key_value_heads=8,
        head_dim=None,
        hidden_act="silu",
        max_position_embeddings=131072,
        initializer_range=0.02,
        rms_norm_eps=1e-5,
        use_cache=True,
        rope_theta=500000.0,
        rope_parameters=None,
        attention_bias=False,
        mlp_bias=False,
        loop_num=2,
        loop_window_size=64,
        tie_word_embeddings=False,
        **kwargs,
    ):
        rope = dict(rope_parameters or kwargs.pop("rope_scaling", None) or {})
        rope.setdefault("rope_type", "default")
        rope.setdefault("rope_theta", rope_theta)
        kwargs.pop("rope_scaling", None)  # None, or told by rope_parameters as well
        if loop_num != 2:
            raise ValueError(f"loop_num = {loop_num}: two passes are what this model is")
        if rope["rope_type"] != "default":
            raise ValueError(f"rope type {rope['rope_type']!r}: this model's positions are plain")
        if hidden_act != "silu" or attention_bias or mlp_bias:
            raise ValueError("hidden_act other than silu, attention_bias, mlp_bias: not this model")
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_key_value_heads
        self.head_dim = head_dim or hidden_size // num_attention_heads
        self.hidden_act = hidden_act
        self.max_position_embeddings = max_position_embeddings
        self.initializer_range = initializer_range
        self.rms_norm_eps = rms_norm_eps
        self.use_cache = use_cache
        self.rope_theta = rope["rope_theta"]
        self.rope_parameters = rope
        self.attention_bias = attention_bias
        self.mlp_bias = mlp_bias
        self.loop_num = loop_num
        self.loop_window_size = loop_window_size
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)
