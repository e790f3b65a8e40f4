// Ollama's own client for JavaScript: list, show, chat with a shell, whole and streamed.
import { createRequire } from "node:module";

const [modules, host, key, prompt] = process.argv.slice(2);
const { Ollama } = createRequire(`${modules}/`)("ollama");
const client = new Ollama({ host, headers: { Authorization: `Bearer ${key}` } });
const messages = [{ role: "user", content: prompt }];

const { models } = await client.list();
const shown = await client.show({ model: "nano" });
const whole = await client.chat({ model: "nano+bash", messages });
let streamed = "";
let last = null;
for await (const part of await client.chat({ model: "nano+bash", messages, stream: true })) {
  streamed += part.message.content;
  last = part;
}
console.log(
  JSON.stringify({
    names: models.map((model) => model.name),
    capabilities: shown.capabilities,
    whole: whole.message.content,
    streamed,
    done: last.done_reason,
  }),
);
