"""Builds the parts of a training: a decoder with random weights or those of a base, its optimizer, batches, validation."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from seedbed.config import arithmetic
from seedbed.config.schema import Config
from seedbed.data.batches import Batches
from seedbed.data.packed_batches import PackedBatches, PackedRows, PackedValidation
from seedbed.data.prefetch import Prefetcher, should_pin
from seedbed.data.sample_prompt import sample_prompt
from seedbed.data.samples import Samples
from seedbed.data.shards import SPLITS, Dataset
from seedbed.data.validation import Validation
from seedbed.jobs.base_model import Origin
from seedbed.jobs.parts import Parts
from seedbed.model.decoder import Decoder
from seedbed.model.generate import Sampling, text_stream
from seedbed.optim.optimizer import build_optimizer
from seedbed.tokenizer.chat_template import ChatTemplate
from seedbed.train import seed
from seedbed.train.decoder_learner import DecoderLearner, model_files
from seedbed.train.device import Device
from seedbed.train.trainer import LearnerTrainer


def assemble(
    config: Config,
    dataset: Dataset,
    device: Device,
    precision: str,
    *,
    compile_as: str = "off",
    origin: Origin | None = None,
) -> Parts:
    """Build the parts of a training: trainer, batches and validation. `compile_as`: on, off or auto.

    `origin`: where the model comes from, for a training on from a base; None trains from scratch.
    """
    options = config.train
    learner = build_learner(config, dataset, precision, device.torch_device, origin)
    optimizer = build_optimizer(learner.trainable(), config.optimizer)
    batches, validation = _batches(config, dataset)
    template = _template(dataset) if origin is None else None

    def write(prompt: str, step: int) -> Iterator[str]:
        sample_seed = seed.offset_seed(options.seed, step)
        sampling = Sampling(max_new_tokens=options.sample_tokens, temperature=0.8, seed=sample_seed)
        if origin is not None:
            return origin.text_stream(learner.model, prompt, sampling)
        tokenizer = dataset.tokenizer
        if template is not None:
            ids = template.encode(tokenizer, [{"role": "user", "content": prompt}])
            return text_stream(learner.model, tokenizer, ids, sampling)
        return text_stream(learner.model, tokenizer, prompt, sampling)

    return Parts(
        trainer=LearnerTrainer(
            learner,
            optimizer,
            device,
            grad_clip=config.optimizer.grad_clip,
            micro_batch=options.micro_batch,
            compile_as=compile_as,
        ),
        batches=batches,
        prefetched=Prefetcher(batches, options.prefetch, pin=should_pin(options.pin_memory, device.torch_device)),
        validation=validation,
        prompts=options.sample_prompts if options.sample_prompts is not None else (sample_prompt(dataset),),
        write=write,
        tokens_per_window=config.model.context,
        fingerprint=dataset.fingerprint,
        is_trained=origin is not None,
    )


def _batches(config: Config, dataset: Dataset) -> tuple[Batches | PackedBatches, Validation | PackedValidation]:
    """The batches of training and of validation: windows of a stream of text, or rows of packed samples."""
    options, context = config.train, config.model.context
    # No gradients are kept, so twice as many sequences as in a training micro-batch fit into memory.
    together = 2 * (options.micro_batch or options.batch_size)
    if dataset.has_samples:
        rows = [
            PackedRows(Samples.of(dataset, name), context, fingerprint=dataset.fingerprint, folder=dataset.folder)
            for name in SPLITS
        ]
        return (
            PackedBatches(rows[0], seed=options.seed, fingerprint=dataset.fingerprint, batch_size=options.batch_size),
            PackedValidation(rows[1], batch_size=together, wanted_tokens=options.eval_tokens),
        )
    masked = config.data.document_mask
    return (
        Batches(
            dataset.train,
            context=context,
            batch_size=options.batch_size,
            seed=options.seed,
            fingerprint=dataset.fingerprint,
            document_mask=masked,
        ),
        Validation(
            dataset.validation,
            context=context,
            batch_size=together,
            document_mask=masked,
            wanted_tokens=options.eval_tokens,
        ),
    )


def _template(dataset: Dataset) -> ChatTemplate | None:
    """The template for prompts of samples if the dataset consists mostly of conversations, else None."""
    source = dataset.tokenizer.chat_template
    if source is None or not dataset.manifest.get("answers"):
        return None
    return ChatTemplate({"default": source})


def build_learner(
    config: Config, dataset: Dataset, precision: str, device: torch.device, origin: Origin | None = None
) -> DecoderLearner:
    """Build the model on its device: with random weights from the config's seed, or as `origin` has it."""
    seed.seed_all(config.train.seed)
    if origin is not None:
        return DecoderLearner(origin.decoder(device), precision=precision, device=device, files=origin.files())
    model = Decoder(config.model, arithmetic.padded_vocab(config.model, dataset.tokenizer.vocab_size))
    model.init_weights(seed.generator(config.train.seed, 0))
    files = model_files(model, dataset.tokenizer)
    return DecoderLearner(model, precision=precision, device=device, files=files)
