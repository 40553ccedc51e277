"""The flat part of a run's status that its events alone can tell, and what they say in sentences."""

from __future__ import annotations

from typing import Any

import msgspec

from seedbed.runs.view import View


def summary(view: View) -> dict[str, Any]:
    """Raw SI numbers by the names of `seedbed status --json`; null where something is unknown or does not apply."""
    validations, best = view.validations, view.best()
    last, final = validations.last, validations.final
    saved = view.checkpoints[-1:]
    said = view.run.get
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
        "parameters": said("parameters"),
        "trainable": said("trainable"),
        "device": said("device"),
        "device_asked": said("device_asked"),
        "device_name": said("device_name"),
        "precision": said("precision"),
        "compile": said("compile"),
        "threads": said("threads"),
        "schedule": said("schedule"),
        "pid": said("pid"),
        "host": said("host"),
        "nodes": view.cluster.nodes(),
        "comm": msgspec.to_builtins(view.cluster.collectives),
        "plugins": view.plugins,
        "simulated": bool(said("simulated")),
        "warnings": warnings(view),
        "started": view.started,
        "updated": view.updated,
        "elapsed_s": view.elapsed_s,
        "checkpoint": saved[0].path if saved else None,
        "checkpoint_step": saved[0].step if saved else None,
    }


def why_early(view: View) -> str:
    """Why a run is completed short of its horizon, in a sentence; "" for others."""
    if view.status != "completed" or view.steps is None or view.step >= view.steps:
        return ""
    told = [str(each.get("text")) for each in view.messages if each.get("code") == "early-stop"]
    return told[-1] if told else "Stopped early: the validation loss fell no further."


def warnings(view: View) -> list[str]:
    """What this session warned of: at which step, what, why, what to do, each in a line."""
    lines: dict[str, str] = {}
    for each in view.messages:
        if each.get("level") in ("warning", "error") and not _refuted(view, each):
            line = " ".join(str(each[key]) for key in ("text", "why", "hint") if each.get(key))
            lines.setdefault(line, f"At step {each['step']}: {line}" if each.get("step") else line)
    return list(lines.values())


def _refuted(view: View, message: dict[str, Any]) -> bool:
    """Whether a message spoke of overfitting, and a validation since then was better than all before."""
    step, best = message.get("step"), view.validations.best[-1:]
    return message.get("code") == "overfitting" and isinstance(step, int) and bool(best) and best[0].step > step
