"""The shapes of engines and their models."""

from typing import Annotated, Self

from pydantic import BaseModel, Field

from lm_sandbox.models.engine import Model, ModelDetail, ModelState
from lm_sandbox.models.hardware import Hardware
from lm_sandbox.models.placement import Plan, Share
from lm_sandbox.models.registry import EngineState
from lm_sandbox.surfaces.native.schemas import Body

ModelName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f]+$")]
FOR_EVER = -1.0


class EngineModelOut(BaseModel):
    """A model of an engine."""

    name: str
    engine: str
    state: ModelState
    reason: str | None
    context_tokens: int | None
    size_bytes: int | None
    demo: bool

    @classmethod
    def of(cls, model: Model) -> Self:
        """Renders a model."""
        return cls(
            name=model.name,
            engine=model.engine,
            state=model.state,
            reason=model.reason or None,
            context_tokens=model.context_tokens,
            size_bytes=model.size_bytes,
            demo=model.demo,
        )


class EngineOut(BaseModel):
    """An engine; one that is down keeps the models that it was last known to serve."""

    name: str
    up: bool
    problem: str | None
    models: list[EngineModelOut]

    @classmethod
    def of(cls, engine: EngineState) -> Self:
        """Renders an engine."""
        return cls(
            name=engine.name,
            up=not engine.problem,
            problem=engine.problem or None,
            models=[EngineModelOut.of(model) for model in engine.models],
        )


class EngineList(BaseModel):
    """Every engine."""

    data: list[EngineOut]


class ShareOut(BaseModel):
    """What one device takes of a model, in bytes; the output counts as a layer."""

    device: str
    layers: int
    weights_bytes: int
    cache_bytes: int
    buffer_bytes: int
    total_bytes: int
    room_bytes: int = Field(description="what there was for it")

    @classmethod
    def of(cls, share: Share) -> Self:
        """Renders a share."""
        return cls(
            device=share.name,
            layers=share.layers,
            weights_bytes=share.weights,
            cache_bytes=share.cache,
            buffer_bytes=share.buffers,
            total_bytes=share.total,
            room_bytes=share.room,
        )


class PlanOut(BaseModel):
    """Where a model is, or would be loaded; sizes are estimates on the side of too much."""

    layers: int
    gpu_layers: int
    threads: int
    devices: list[ShareOut]

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """Renders a plan."""
        return cls(
            layers=plan.layers,
            gpu_layers=plan.gpu_layers,
            threads=plan.threads,
            devices=[ShareOut.of(share) for share in (*plan.gpus, plan.host)],
        )


class ModelDetailOut(EngineModelOut):
    """A model with what is known of it; `problem` says why it cannot be loaded."""

    facts: dict[str, str]
    plan: PlanOut | None
    problem: str | None

    @classmethod
    def of_detail(cls, detail: ModelDetail) -> Self:
        """Renders the detail of a model."""
        model = EngineModelOut.of(detail.model)
        return cls(
            **model.model_dump(),
            facts=dict(detail.facts),
            plan=PlanOut.of(detail.plan) if detail.plan else None,
            problem=detail.problem or None,
        )


class ModelLoad(Body):
    """A model to load ahead."""

    model: ModelName
    keep_alive_s: float | None = Field(
        None, ge=FOR_EVER, description="unloaded when unused for so long; -1 is never"
    )

    @property
    def kept_s(self) -> float | None:
        """The same with infinity for never."""
        return float("inf") if self.keep_alive_s is not None and self.keep_alive_s < 0 else self.keep_alive_s


class ModelUnload(Body):
    """A model to unload."""

    model: ModelName


class ModelPull(Body):
    """A model to get."""

    source: ModelName = Field(examples=["hf:Qwen/Qwen3-4B-GGUF:Q4_K_M"])


class GpuOut(BaseModel):
    """A GPU."""

    id: str
    name: str
    total_bytes: int
    free_bytes: int
    capability: str


class HardwareOut(BaseModel):
    """What this machine computes with."""

    processor: str
    cores: int
    threads: int
    memory_bytes: int
    available_bytes: int
    gpus: list[GpuOut]
    gpu_note: str | None

    @classmethod
    def of(cls, hardware: Hardware) -> Self:
        """Renders a machine."""
        return cls(
            processor=hardware.processor,
            cores=hardware.cores,
            threads=hardware.threads,
            memory_bytes=hardware.memory_bytes,
            available_bytes=hardware.available_bytes,
            gpus=[
                GpuOut(
                    id=gpu.id,
                    name=gpu.name,
                    total_bytes=gpu.total_bytes,
                    free_bytes=gpu.free_bytes,
                    capability=".".join(str(part) for part in gpu.capability),
                )
                for gpu in hardware.gpus
            ],
            gpu_note=hardware.gpu_note or None,
        )
