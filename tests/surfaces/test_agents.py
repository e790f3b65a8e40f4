"""What agents and chat programs send, in shape.

Claude Code 2.1, Codex 0.171 and opencode 1.18 as they were seen, Open WebUI as its source (routers/ollama.py) has it.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest

from tests.conftest import Server

LONG = "Read this with care before you do anything. " * 40


@pytest.fixture
def http(shared_server: Server) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {shared_server.key}"}
    with httpx.Client(base_url=shared_server.url, headers=headers, timeout=60) as client:
        yield client


def schema(*names: str) -> dict[str, object]:
    properties = {name: {"type": "string", "description": LONG, "maxLength": 20} for name in names}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": list(names[:1]),
        "additionalProperties": False,
    }


TOOLS = {"Agent": ("prompt", "description"), "Bash": ("command",), "Read": ("file_path",), "TaskList": ()}


def claude(prompt: str) -> dict[str, Any]:
    kept = {"cache_control": {"type": "ephemeral"}}
    return {
        "model": "nano",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": f"<system-reminder>\n{LONG}</system-reminder>"},
                    {"type": "text", "text": prompt, **kept},
                ],
            },
            {"role": "system", "content": "Available agent types for the Agent tool: none."},
        ],
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1; cc_entrypoint=sdk-cli;"},
            {"type": "text", "text": "You are a Claude agent.", **kept},
            {"type": "text", "text": LONG, **kept},
        ],
        "tools": [
            {"name": name, "description": LONG, "input_schema": schema(*names)}
            for name, names in TOOLS.items()
        ],
        "metadata": {"user_id": json.dumps({"device_id": "0" * 64, "session_id": "1"})},
        "max_tokens": 32000,
        "thinking": {"type": "adaptive"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"},
        "stream": True,
    }


BETAS = "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,effort-2025-11-24"


def events_of(answer: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line[5:]) for line in answer.text.splitlines() if line.startswith("data: {")]


def test_claude_code_looks_whether_the_server_is_there(http: httpx.Client) -> None:
    assert http.head("/").status_code == 200


def test_claude_code_is_answered_by_a_model_that_talks(http: httpx.Client) -> None:
    headers = {"anthropic-beta": BETAS, "anthropic-version": "2023-06-01", "x-app": "cli"}
    answer = http.post("/v1/messages?beta=true", json=claude("thanks"), headers=headers)
    assert answer.status_code == 200
    events = events_of(answer)
    assert (events[0]["type"], events[-1]["type"]) == ("message_start", "message_stop")
    left_out = answer.headers["x-lm-sandbox-left-out"]
    assert {"context_management", "system.billing"} <= set(left_out.split(", "))


def test_a_call_of_a_tool_that_is_not_there_becomes_one_of_a_tool_that_is(http: httpx.Client) -> None:
    # nano knows one tool, bash, and calls it whatever there is: llama.cpp ends such an answer with an error.
    asked = claude("Which Linux is this?")
    asked["messages"] = [{"role": "user", "content": "Which Linux is this?"}]
    events = events_of(http.post("/v1/messages", json=asked))
    started = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    (call,) = [block for block in started if block["type"] == "tool_use"]
    assert call["name"] in TOOLS
    written = "".join(
        event["delta"]["partial_json"]
        for event in events
        if event["type"] == "content_block_delta" and event["delta"]["type"] == "input_json_delta"
    )
    assert set(json.loads(written)) <= set(TOOLS[call["name"]])
    (ended,) = [event["delta"] for event in events if event["type"] == "message_delta"]
    assert ended["stop_reason"] == "tool_use"


def codex(prompt: str) -> dict[str, Any]:
    def said(role: str, *texts: str) -> dict[str, Any]:
        parts = [{"type": "input_text", "text": text} for text in texts]
        return {"type": "message", "id": f"msg_{role}", "role": role, "content": parts}

    command = {"type": "object", "properties": {"cmd": {"type": "string"}}, "required": ["cmd"]}
    return {
        "model": "nano",
        "stream": True,
        "input": [
            said("developer", LONG),
            said("developer", f"<skills_instructions>{LONG}", f"<permissions instructions>{LONG}"),
            said("user", "<environment_context>\n  <cwd>/w</cwd>\n</environment_context>"),
            said("user", prompt),
        ],
        "tools": [
            {"type": "function", "name": "exec_command", "strict": False, "parameters": command},
            {"type": "namespace", "name": "multi_agent_v1", "description": "", "tools": []},
            {"type": "web_search", "external_web_access": False},
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"summary": "auto"},
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "01a21bd8-68bb-7f12-a5d5-7b409cb1d09c",
        "client_metadata": {"session_id": "1"},
    }


def test_codex_is_answered_and_told_what_was_left_out(http: httpx.Client) -> None:
    answer = http.post("/v1/responses", json=codex("thanks"))
    assert answer.status_code == 200
    events = events_of(answer)
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"]["store"] is False
    assert answer.headers["x-lm-sandbox-tools-left-out"] == "namespace, web_search"
    assert answer.headers["x-lm-sandbox-fields-left-out"] == "client_metadata, include"


def test_opencode_streams_with_its_usage(http: httpx.Client) -> None:
    tool = {"type": "function", "function": {"name": "bash", "parameters": schema("command")}}
    asked = {
        "model": "nano",
        "max_tokens": 32000,
        "messages": [{"role": "system", "content": LONG}, {"role": "user", "content": "thanks"}],
        "tools": [tool],
        "tool_choice": "auto",
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    chunks = events_of(http.post("/v1/chat/completions", json=asked))
    assert chunks[-1]["usage"]["total_tokens"] > 0
    assert "".join(c["delta"].get("content") or "" for chunk in chunks for c in chunk["choices"])


def test_open_webui_lists_what_is_there_and_chats(http: httpx.Client) -> None:
    headers = {
        "Content-Type": "application/json",
        "X-OpenWebUI-User-Name": "Anna%20B",
        "X-OpenWebUI-User-Role": "admin",
    }
    assert http.get("/api/version", headers=headers).json()["version"]
    models = http.get("/api/tags", headers=headers).json()["models"]
    assert {"nano:latest", "nano+bash:latest"} <= {model["model"] for model in models}
    asked = {
        "model": "nano:latest",
        "messages": [{"role": "user", "content": "thanks"}],
        "options": {"temperature": 0.8, "num_ctx": 8192, "stop": ["<|stop|>"]},
        "stream": True,
    }
    answer = http.post("/api/chat", content=json.dumps(asked), headers=headers)
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert lines[-1]["done"]
    assert "".join(line["message"]["content"] for line in lines)
    (loaded,) = http.get("/api/ps", headers=headers).json()["models"]
    assert datetime.fromisoformat(loaded["expires_at"]).tzinfo is not None
    assert loaded["name"] in {model["name"] for model in models}
