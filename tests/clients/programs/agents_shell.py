"""openai-agents with its ShellTool: usage: URL KEY MODEL PROMPT ENVIRONMENT(JSON). Prints the outputs and the answer."""

import asyncio
import json
import sys

from agents import Agent, OpenAIResponsesModel, Runner, ShellTool, set_tracing_disabled
from openai import AsyncOpenAI


async def main() -> None:
    url, key, model, prompt, environment = sys.argv[1:]
    set_tracing_disabled(True)
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
    where = json.loads(environment)
    if where["type"] == "local":
        tool = ShellTool(executor=execute, environment=where)
    else:
        tool = ShellTool(environment=where)
    agent = Agent(name="a", model=OpenAIResponsesModel(model=model, openai_client=client), tools=[tool])
    result = await Runner.run(agent, prompt)
    outputs = [
        part.stdout
        for response in result.raw_responses
        for item in response.output
        if item.type == "shell_call_output"
        for part in item.output
    ]
    print(json.dumps({"outputs": outputs, "answer": result.final_output}))


async def execute(request: object) -> str:
    """The client's own shell; what it says cannot be known to the model."""
    del request
    return "zanzibar"


asyncio.run(main())
