"""An exported folder in the hands of others: its tokenizer, TRL's SFT, an adapter of PEFT."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tokenizers.decoders import ByteLevel

from codeflow.documents.chat.render import QWEN3_CODER
from codeflow.documents.chat.template import template
from codeflow.documents.document import END_OF_TEXT, IM_END, SPECIAL
from codeflow.loopcoder import export, load
from codeflow.loopcoder.attention import Documents
from loopcoder_models import random_model

pytestmark = [
    pytest.mark.slow,  # transformers, TRL and PEFT take seconds to import
    pytest.mark.usefixtures("transformers_offline"),
]

ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"Add {n} and 1."},
            {"role": "assistant", "content": reply},
        ]
    }
    for n, reply in enumerate(("It is 1.", "That makes two, of course.", "3", "def f(): return 4"))
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("elsewhere")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["user assistant def return"] * 9, trainer)
    tokenizer.save(str(root / "tokenizer.json"))
    vocabulary = tokenizer.get_vocab()
    ends = [vocabulary[name] for name in (IM_END, END_OF_TEXT)]
    return export(
        random_model(vocab_size=320),
        root / "loop",
        tokenizer=root / "tokenizer.json",
        eos_token_ids=ends,
        pad_token_id=ends[1],
        chat_template=template(QWEN3_CODER),
        remote_code=True,
    )


def opened(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)


def tokenizer_of(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def chat(tokenizer: Any, row: dict[str, Any]) -> tuple[list[int], list[int]]:
    found = tokenizer.apply_chat_template(
        row["messages"], return_dict=True, return_assistant_tokens_mask=True
    )
    return found["input_ids"], found["assistant_masks"]


def test_the_tokenizer_knows_what_ends_and_pads(folder: Path) -> None:
    tokenizer = tokenizer_of(folder)
    assert (tokenizer.eos_token, tokenizer.pad_token) == (IM_END, END_OF_TEXT)
    assert tokenizer.bos_token is None
    assert tokenizer.model_max_length == 4096
    for text in ("a  b ,c .\n\n", " ü\t", "it 's 1 ."):
        ids = tokenizer(text)["input_ids"]
        assert ids == Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids
        assert tokenizer.decode(ids) == text
    ids, mask = chat(tokenizer, ROWS[1])
    trained = [token for token, kept in zip(ids, mask, strict=True) if kept]
    assert tokenizer.decode(trained) == "That makes two, of course." + IM_END
    model = opened(folder)
    ends = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    assert model.generation_config.eos_token_id == ends
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id


def test_two_steps_of_trl_train_what_we_would(folder: Path, tmp_path: Path) -> None:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    tokenizer = tokenizer_of(folder)
    total = torch.zeros(())
    for ids, mask in (chat(tokenizer, row) for row in ROWS):
        row, targets = torch.tensor([ids]), torch.tensor([[*ids[1:], 0]])
        weights = torch.tensor([[*mask[1:], 0]]).float()
        with torch.no_grad():
            total += load(folder)(row, Documents.whole(*row.shape), targets, weights).sum
    count = sum(sum(chat(tokenizer, row)[1][1:]) for row in ROWS)
    arguments = SFTConfig(
        output_dir=str(tmp_path / "sft"),
        max_steps=2,
        per_device_train_batch_size=len(ROWS),
        learning_rate=1e-2,
        warmup_steps=0,
        lr_scheduler_type="constant",
        logging_steps=1,
        assistant_only_loss=True,
        gradient_checkpointing=True,
        max_length=128,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
    )
    data = Dataset.from_list(ROWS)
    trainer = SFTTrainer(opened(folder), arguments, train_dataset=data, processing_class=tokenizer)
    trainer.train()
    seen = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert len(seen) == 2
    assert math.isclose(seen[0], float(total) / count, rel_tol=1e-3)
    assert seen[1] < seen[0]
    trainer.save_model(str(tmp_path / "saved"))
    before, after = load(folder).state_dict(), load(tmp_path / "saved").state_dict()
    assert before.keys() == after.keys()
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert {name for name in moved if "gate_projections" in name}
    assert len(moved) == len(before)


def test_an_adapter_is_saved_and_loaded(folder: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    base = opened(folder)
    gates = [f"gate_projections.{n}" for n in range(base.config.num_hidden_layers)]
    linear = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=2, target_modules=linear, modules_to_save=gates, task_type="CAUSAL_LM")
    torch.manual_seed(0)
    model = get_peft_model(base, config)
    ids = torch.arange(100)[None]
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    for _ in range(2):  # the second reaches what starts at 0
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        trained, plain = model(input_ids=ids).logits, opened(folder)(ids).logits
    assert float((trained - plain).abs().max()) > 0.01
    model.save_pretrained(tmp_path / "adapter")
    again = PeftModel.from_pretrained(opened(folder), tmp_path / "adapter").eval()
    with torch.no_grad():
        assert torch.allclose(again(input_ids=ids).logits, trained, atol=1e-5)
    merged = again.merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    with torch.no_grad():
        ours = load(tmp_path / "merged")(ids)
    assert torch.allclose(ours, trained, atol=1e-3)
