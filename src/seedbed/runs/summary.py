"""The part of `seedbed status --json` that follows from a run's events alone, and its warnings as sentences."""

from __future__ import annotations

from typing import Any

import msgspec

from seedbed.runs.view import View, is_warning


def summary(view: View) -> dict[str, Any]:
    """The values of `seedbed status --json` that only the events decide: raw SI numbers; None if unknown or not applicable."""
    validations, best = view.validations, view.best()
    last, final = validations.last, validations.final
    saved = view.checkpoints[-1:]
    run = view.run.get
    num_nodes = run("nodes")
    return {
        "code": view.code,
        "waits_for": view.waits_for,
        "reason": view.reason,
        "hint": view.hint,
        "session": view.session,
        "phase": view.phases[-1] if view.phases else None,
        "progress": view.progress,
        "step": view.step,
        "steps": view.steps,
        "epoch": view.epoch(view.step),
        "epochs": view.epoch(view.steps),
        "loss": view.loss,
        "val_loss": last.loss if last else None,
        "val_loss_before": validations.before.loss if validations.before else None,
        "best_val_loss": best.loss if best else None,
        "best_step": best.step if best else None,
        "final_val_loss": final.loss if final else None,
        "final_val_step": final.step if final else None,
        "lr": view.lr,
        "grad_norm": view.grad_norm,
        "metrics": dict(view.metrics),
        "tokens": view.tokens,
        "tokens_per_s": view.tokens_per_second(),
        "step_s": view.seconds_per_step(),
        "parameters": run("parameters"),
        "trainable": run("trainable"),
        "device": run("device"),
        "device_asked": run("device_asked"),
        "device_name": run("device_name"),
        "precision": run("precision"),
        "compile": run("compile"),
        "threads": run("threads"),
        "schedule": run("schedule"),
        "pid": run("pid"),
        "host": run("host"),
        "nodes": view.cluster.nodes(),
        "num_nodes": num_nodes,
        "nodes_in_use": view.cluster.in_use(num_nodes) if num_nodes is not None else None,
        "last_failed_node": view.cluster.failed,
        "interruptions": view.cluster.interruptions,
        "comm": msgspec.to_builtins(view.cluster.collectives),
        "plugins": view.plugins,
        "simulated": bool(run("simulated")),
        "warnings": warnings(view),
        "forgotten_warnings": view.forgotten_warnings,
        "started": view.started,
        "updated": view.updated,
        "elapsed_s": view.elapsed_s,
        "checkpoint": saved[0].path if saved else None,
        "checkpoint_step": saved[0].step if saved else None,
    }


def why_early(view: View) -> str:
    """A sentence that says why a run completed before its last planned step; "" for other runs."""
    if view.status != "completed" or view.steps is None or view.step >= view.steps:
        return ""
    texts = [str(each.get("text")) for each in view.messages if each.get("code") == "early-stop"]
    return texts[-1] if texts else "Stopped early: the validation loss did not improve any further."


def warnings(view: View) -> list[str]:
    """The warnings of the run's last session, one line each: the step, what happened, why, and what to do."""
    lines: dict[str, str] = {}
    for each in view.messages:
        if is_warning(each) and not _refuted(view, each):
            line = " ".join(str(each[key]) for key in ("text", "why", "hint") if each.get(key))
            lines.setdefault(line, f"At step {each['step']}: {line}" if each.get("step") else line)
    return list(lines.values())


def _refuted(view: View, message: dict[str, Any]) -> bool:
    """Whether a warning of overfitting is outdated, since a later validation was the best so far."""
    step, best = message.get("step"), view.validations.best[-1:]
    return message.get("code") == "overfitting" and isinstance(step, int) and bool(best) and best[0].step > step
