"""The actions that every front end shares: start, follow, stop, pause, resume, rename, delete, generate, and others.

This package imports neither a user interface nor torch.
"""

from seedbed.actions.base_models import base_opener, base_opener_for_forms, open_base
from seedbed.actions.checks import check_training, examine, refuse_unusable_data, refuse_unusable_store
from seedbed.actions.choosing import SizePlan, choose_size
from seedbed.actions.evaluating import (
    EvaluatedModel,
    config_like,
    models_to_evaluate,
    start_evaluation,
    training_text,
    was_trained_on,
    with_models,
)
from seedbed.actions.launching import (
    JOBS,
    Launch,
    busy_error,
    default_name,
    early_exit_error,
    follow,
    is_first_event,
    new_run,
    new_task,
    start,
    start_new_run,
    start_new_task,
    wait_until_started,
)
from seedbed.actions.measuring import expected_tokens, plan_on_this_machine, rates_of_this_machine, text_tokens
from seedbed.actions.models import ask_checkpoint, ask_model, child, default_prompt
from seedbed.actions.records import change_tags, delete, rename, set_archived, set_note
from seedbed.actions.resuming import resume
from seedbed.actions.supervising import (
    can_resume,
    can_save,
    has_checkpoint,
    has_steps,
    is_extendable,
    is_live,
    is_paused,
    is_resumable,
    is_running,
    pause,
    save_now,
    stop,
    unpause,
    wait_until_ended,
)
from seedbed.runs.store import chosen_store as store

__all__ = [
    "JOBS",
    "EvaluatedModel",
    "Launch",
    "SizePlan",
    "ask_checkpoint",
    "ask_model",
    "base_opener",
    "base_opener_for_forms",
    "busy_error",
    "can_resume",
    "can_save",
    "change_tags",
    "check_training",
    "child",
    "choose_size",
    "config_like",
    "default_name",
    "default_prompt",
    "delete",
    "early_exit_error",
    "examine",
    "expected_tokens",
    "follow",
    "has_checkpoint",
    "has_steps",
    "is_extendable",
    "is_first_event",
    "is_live",
    "is_paused",
    "is_resumable",
    "is_running",
    "models_to_evaluate",
    "new_run",
    "new_task",
    "open_base",
    "pause",
    "plan_on_this_machine",
    "rates_of_this_machine",
    "refuse_unusable_data",
    "refuse_unusable_store",
    "rename",
    "resume",
    "save_now",
    "set_archived",
    "set_note",
    "start",
    "start_evaluation",
    "start_new_run",
    "start_new_task",
    "stop",
    "store",
    "text_tokens",
    "training_text",
    "unpause",
    "wait_until_ended",
    "wait_until_started",
    "was_trained_on",
    "with_models",
]
