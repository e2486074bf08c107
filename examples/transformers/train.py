"""Train with transformers' Trainer, which reports to wandb; go on from the last checkpoint of the output folder."""

import os
import time

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    HfArgumentParser,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint


class Words(torch.utils.data.Dataset):
    """Sentences of one word, which decides the label."""

    def __len__(self):
        return 80

    def __getitem__(self, index):
        time.sleep(float(os.environ.get("STEP_SECONDS", "0")) / 2)  # as a larger model takes it; two to a batch
        return {"input_ids": torch.tensor([1, 2 + index % 5, 3]), "labels": torch.tensor(index % 5 % 2)}


class Steps(TrainerCallback):
    """Says how far it is."""

    def on_step_end(self, args, state, control, **kwargs):
        """Print the step."""
        print(f"step {state.global_step}")


def main() -> None:
    parser = HfArgumentParser(TrainingArguments)
    parser.set_defaults(output_dir=os.environ.get("SLURMSWEEP_CHECKPOINT_DIR", "out"))
    (args,) = parser.parse_args_into_dataclasses()
    config = BertConfig(
        vocab_size=16, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, num_labels=2
    )
    last = get_last_checkpoint(args.output_dir) if os.path.isdir(args.output_dir) else None
    if last:
        print(f"going on from step {last.rpartition('-')[2]}")
    trainer = Trainer(
        model=BertForSequenceClassification(config), args=args, train_dataset=Words(), callbacks=[Steps()]
    )
    trainer.train(resume_from_checkpoint=last)
    print(f"trained, loss {next(row['loss'] for row in reversed(trainer.state.log_history) if 'loss' in row)}")


if __name__ == "__main__":
    main()
