"""pydantic-ai: usage: URL KEY MODEL PROMPT. Prints what was said by chat and by responses."""

import json
import sys

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

url, key, model, prompt = sys.argv[1:]
provider = OpenAIProvider(base_url=f"{url}/v1", api_key=key)
chat = Agent(OpenAIChatModel(f"{model}+bash", provider=provider)).run_sync(prompt).output
responses = Agent(OpenAIResponsesModel(model, provider=provider)).run_sync("hello").output
print(json.dumps({"chat": chat, "responses": responses}))
