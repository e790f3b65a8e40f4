// The official OpenAI client for JavaScript: chat, streams, responses with the shell, containers.
import { createRequire } from "node:module";

const [modules, url, key, prompt] = process.argv.slice(2);
const { OpenAI } = createRequire(`${modules}/`)("openai");
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
const messages = [{ role: "user", content: prompt }];

const whole = await client.chat.completions.create({ model: "nano+bash", messages });
const stream = await client.chat.completions.create({
  model: "nano+bash",
  messages,
  stream: true,
  stream_options: { include_usage: true },
});
let streamed = "";
let usage = null;
for await (const chunk of stream) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}

const container = await client.containers.create({ name: "from-javascript" });
const environment = { type: "container_reference", container_id: container.id };
const kinds = [];
let done = null;
const events = await client.responses.create({
  model: "nano",
  input: prompt,
  tools: [{ type: "shell", environment }],
  stream: true,
});
for await (const event of events) {
  if (kinds.at(-1) !== event.type) kinds.push(event.type);
  if (event.type === "response.completed") done = event.response;
}
const kept = await client.responses.retrieve(done.id);
const conversation = await client.conversations.create({ items: messages.map((m) => ({ type: "message", ...m })) });
const items = await client.conversations.items.list(conversation.id);
let refused = null;
try {
  await client.chat.completions.create({ model: "none", messages });
} catch (error) {
  refused = [error.status, error.code];
}
console.log(
  JSON.stringify({
    whole: whole.choices[0].message.content,
    streamed,
    tokens: usage.total_tokens,
    kinds,
    outputs: kept.output.filter((item) => item.type === "shell_call_output").map((item) => item.output[0].stdout),
    items: items.data.map((item) => item.role),
    refused,
  }),
);
