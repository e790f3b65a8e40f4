"""litellm: usage: URL KEY MODEL PROMPT. Prints what was said, whole and streamed."""

import json
import sys

import litellm

url, key, model, prompt = sys.argv[1:]
asked = {
    "model": f"openai/{model}",
    "api_base": f"{url}/v1",
    "api_key": key,
    "messages": [{"role": "user", "content": prompt}],
}
whole = litellm.completion(**asked)
pieces = [chunk.choices[0].delta.content or "" for chunk in litellm.completion(**asked, stream=True)]
print(json.dumps({"whole": whole.choices[0].message.content, "streamed": "".join(pieces)}))
