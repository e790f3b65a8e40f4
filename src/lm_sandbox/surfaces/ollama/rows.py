"""Models as Ollama lists and shows them; pure."""

import hashlib
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from lm_sandbox.models.engine import Model, ModelDetail
from lm_sandbox.models.registry import LATEST, public_names
from lm_sandbox.surfaces.generation import BASH_SUFFIX
from lm_sandbox.surfaces.ollama.capabilities import capabilities

Json = dict[str, Any]
# Ollama's own for a model that is never unloaded.
FOR_EVER = datetime(2318, 1, 1, tzinfo=UTC)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def tagged(name: str) -> str:
    """Writes a name as Ollama's clients expect it: none is without a tag."""
    return name if ":" in name.rpartition("/")[2] else name + LATEST


def listed(models: Sequence[Model]) -> list[Json]:
    """Lists every model, and with a shell those that talk."""
    return [
        _row(model, tagged(name + suffix))
        for name, model in zip(public_names(models), models, strict=True)
        for suffix in ("", BASH_SUFFIX)
        if not suffix or "completion" in capabilities(model)
    ]


def running(detail: ModelDetail, name: str, now: datetime) -> Json:
    """Writes a loaded model: what it takes, and until when."""
    model, plan = detail.model, detail.plan
    row = _row(model, tagged(name))
    del row["modified_at"]
    if plan is not None:
        row["size"] = sum(plan.uses.values())
    row["size_vram"] = sum(share.total for share in plan.gpus) if plan is not None else 0
    row["context_length"] = model.context_tokens or 0
    if model.unloads_in_s is not None:
        row["expires_at"] = _written(_after(now, model.unloads_in_s))
    return row


def shown(detail: ModelDetail, name: str, *, with_shell: bool) -> Json:
    """Writes what is known of a model."""
    model, facts = detail.model, detail.facts
    architecture = model.kind.architecture or facts.get("architecture", "")
    trained = facts.get("trained context", "")
    context = model.context_tokens or (int(trained) if trained.isdecimal() else None)
    info: Json = {"general.architecture": architecture, "general.basename": model.name}
    if context:
        info[f"{architecture}.context_length"] = context
    told = facts.get("capabilities")
    can = told.split(", ") if told else capabilities(model)
    return {
        "license": "",
        "modelfile": f"# Served by lm-sandbox, engine {model.engine}.\nFROM {name}\n",
        "parameters": "",
        "template": "",
        "details": _details(model),
        "model_info": info,
        "capabilities": ["completion"] if with_shell else can,
        "modified_at": _modified(model),
    }


def _row(model: Model, name: str) -> Json:
    return {
        "name": name,
        "model": name,
        "modified_at": _modified(model),
        "size": model.size_bytes or 0,
        "digest": _digest(model, name),
        "details": _details(model),
        "state": model.state.value,
    }


def _details(model: Model) -> Json:
    kind = model.kind
    return {
        "parent_model": "",
        "format": kind.format,
        "family": kind.architecture,
        "families": [kind.architecture] if kind.architecture else [],
        "parameter_size": kind.parameters,
        "quantization_level": kind.quantisation,
    }


def _digest(model: Model, name: str) -> str:
    """Names the model and its version; it is no checksum, which would take reading all of it."""
    told = f"{model.engine}\0{name}\0{model.size_bytes}\0{model.modified_at}"
    return hashlib.sha256(told.encode()).hexdigest()


def _modified(model: Model) -> str:
    at = model.modified_at
    return _written(LONG_AGO if at is None else datetime.fromtimestamp(at, UTC))


def _after(now: datetime, seconds: float) -> datetime:
    if math.isinf(seconds):
        return FOR_EVER
    try:
        return min(now + timedelta(seconds=seconds), FOR_EVER)
    except OverflowError:
        return FOR_EVER


def _written(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
