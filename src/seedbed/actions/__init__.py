"""What every front end can have done: start, follow, stop, pause, resume, rename, delete, generate, and others.

Knows no screen and no tensor.
"""

from seedbed.actions.checks import check_training, examine, refuse_unusable_data, refuse_unusable_store
from seedbed.actions.launching import (
    JOBS,
    Launch,
    begin,
    begin_task,
    busy,
    default_name,
    died_early,
    follow,
    is_hello,
    new_run,
    new_task,
    start,
    store,
    wait_until_begun,
)
from seedbed.actions.models import ask_checkpoint, ask_model, child, default_prompt
from seedbed.actions.records import change_tags, delete, rename, set_archived, set_note
from seedbed.actions.resuming import resume
from seedbed.actions.supervising import (
    can_go_on,
    go_on,
    has_checkpoint,
    has_steps,
    is_extendable,
    is_held,
    is_live,
    is_resumable,
    is_running,
    pause,
    save_now,
    stop,
    wait_until_ended,
)

__all__ = [
    "JOBS",
    "Launch",
    "ask_checkpoint",
    "ask_model",
    "begin",
    "begin_task",
    "busy",
    "can_go_on",
    "change_tags",
    "check_training",
    "child",
    "default_name",
    "default_prompt",
    "delete",
    "died_early",
    "examine",
    "follow",
    "go_on",
    "has_checkpoint",
    "has_steps",
    "is_extendable",
    "is_held",
    "is_hello",
    "is_live",
    "is_resumable",
    "is_running",
    "new_run",
    "new_task",
    "pause",
    "refuse_unusable_data",
    "refuse_unusable_store",
    "rename",
    "resume",
    "save_now",
    "set_archived",
    "set_note",
    "start",
    "stop",
    "store",
    "wait_until_begun",
    "wait_until_ended",
]
