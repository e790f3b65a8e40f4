"""`lm-sandbox models`: what can be asked, where it is loaded, and where it comes from."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import httpx
from rich.console import Console
from rich.table import Table

from lm_sandbox.cli.connection import check, connect, connect_to_server
from lm_sandbox.config.settings import Settings
from lm_sandbox.errors import ModelNotFound
from lm_sandbox.models.engine import ModelState

MIB = 1024**2
GIB = 1024**3
Json = dict[str, Any]


async def list_models(settings: Settings, *, as_json: bool) -> int:
    """Prints every model of every engine, and the engines that do not answer."""
    async with connect(settings) as client:
        engines = await _engines(client)
        listed = (await check(await client.get("/v1/models"))).json()["data"]
    models = [model for engine in engines for model in engine["models"]]
    if as_json:
        print(json.dumps(models))  # noqa: T201
        return 0
    default = {row["id"] for row in listed if row["default"]}
    table = Table("model", "engine", "state", "context", "size", "")
    for name, model in _named(models):
        failed = model["state"] == ModelState.FAILED
        notes = ["default"] * (name in default) + ["demo"] * model["demo"]
        table.add_row(
            name,
            model["engine"],
            model["reason"] if failed else model["state"],
            str(model["context_tokens"] or ""),
            _size(model["size_bytes"]) if model["size_bytes"] else "",
            ", ".join(notes),
        )
    console = Console(highlight=False)
    console.print(table)
    for engine in engines:
        if engine["problem"]:
            console.print(f"[yellow]{engine['name']}[/]: {engine['problem']}", soft_wrap=True)
    return 0


async def show_model(settings: Settings, name: str, *, as_json: bool) -> int:
    """Prints what is known of a model."""
    async with connect(settings) as client:
        detail = await _detail(client, name)
    if as_json:
        print(json.dumps(detail))  # noqa: T201
        return 0
    rows = {"engine": detail["engine"], "state": detail["state"], **detail["facts"]}
    rows |= {"problem": detail["problem"]} if detail["problem"] else {}
    table = Table(show_header=False)
    for row in rows.items():
        table.add_row(*row)
    Console(highlight=False).print(table)
    return 0


async def plan_model(settings: Settings, name: str, *, as_json: bool) -> int:
    """Prints which device takes what of a model; returns 1 where it does not fit."""
    async with connect(settings) as client:
        detail = await _detail(client, name)
    plan = detail["plan"]
    if as_json:
        print(json.dumps(plan or {"problem": detail["problem"]}))  # noqa: T201
        return 0 if plan else 1
    console = Console(highlight=False)
    if plan is None:
        console.print(detail["problem"] or f"{detail['engine']} does not tell.", soft_wrap=True)
        return 1
    title = f"{name}: {plan['gpu_layers']} of {plan['layers']} layers on GPUs, {plan['threads']} threads"
    columns = ("device", "layers", "weights", "cache", "buffers", "together", "of")
    table = Table(*columns, title=title, title_justify="left")
    for device in plan["devices"]:
        sizes = ("weights_bytes", "cache_bytes", "buffer_bytes", "total_bytes", "room_bytes")
        table.add_row(device["device"], str(device["layers"]), *(_size(device[size]) for size in sizes))
    console.print(table)
    return 0


async def pull_model(settings: Settings, source: str, engine: str) -> int:
    """Gets a model and shows how far it is."""
    async with connect(settings) as client:
        path = f"/v1/engines/{quote(engine)}/pull"
        async with client.stream("POST", path, json={"source": source}) as answer:
            await check(answer)
            return await _follow(answer)


async def remove_model(settings: Settings, name: str) -> int:
    """Deletes the files of a model."""
    async with connect(settings) as client:
        found = await _found(client, name)
        await check(await client.delete(_path(found)))
    return 0


async def load_model(settings: Settings, name: str, keep_alive_s: float | None) -> int:
    """Loads a model in the server that runs here."""
    async with connect_to_server(settings) as client:
        found = await _found(client, name)
        body = {"model": found["name"], "keep_alive_s": keep_alive_s}
        await check(await client.post(f"/v1/engines/{found['engine']}/load", json=body))
    return 0


async def unload_model(settings: Settings, name: str) -> int:
    """Frees the memory of a model in the server that runs here."""
    async with connect_to_server(settings) as client:
        found = await _found(client, name)
        await check(await client.post(f"/v1/engines/{found['engine']}/unload", json={"model": found["name"]}))
    return 0


async def _follow(answer: httpx.Response) -> int:
    """Prints the events of a pull, one line for each thing that it does."""
    console = Console(highlight=False)
    event = status = ""
    with console.status("") as spinner:
        async for line in answer.aiter_lines():
            kind, _, data = line.partition(": ")
            if kind == "event":
                event = data
            elif kind == "data" and event == "error":
                Console(stderr=True).print(json.loads(data)["detail"], style="bold red", markup=False)
                return 1
            elif kind == "data" and event == "progress":
                step = json.loads(data)
                if step["status"] != status:
                    status = step["status"]
                    console.print(status, markup=False)
                share = f"{100 * step['completed'] / step['total']:.0f} %" if step["total"] else ""
                spinner.update(share)
    return 0 if event == "done" else 1


async def _detail(client: httpx.AsyncClient, name: str) -> Json:
    found: Json = (await check(await client.get(_path(await _found(client, name))))).json()
    return found


async def _found(client: httpx.AsyncClient, name: str) -> Json:
    models = [model for engine in await _engines(client) for model in engine["models"]]
    for public, model in _named(models):
        if name in {public, f"{model['engine']}/{model['name']}"}:
            return model
    raise ModelNotFound(name, [public for public, _ in _named(models)])


async def _engines(client: httpx.AsyncClient) -> list[Json]:
    found: list[Json] = (await check(await client.get("/v1/engines"))).json()["data"]
    return found


def _path(model: Json) -> str:
    return f"/v1/engines/{model['engine']}/models/{quote(model['name'])}"


def _named(models: Sequence[Json]) -> list[tuple[str, Json]]:
    """Names models as the API does."""
    counts = Counter(model["name"] for model in models)
    return [
        (model["name"] if counts[model["name"]] == 1 else f"{model['engine']}/{model['name']}", model)
        for model in models
    ]


def _size(size: int) -> str:
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / MIB:.1f} MiB"
